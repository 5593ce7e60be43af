/* Between marks 0 and 1, twice: 16 MiB read 16 bytes at a time, in order, four times 32 KiB read, 16 MiB written. */
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MARK 0x45564954u
#define LARGE (16 << 20)
#define SMALL (32 << 10)

static uint8_t large[LARGE] __attribute__((aligned(4096))), written[LARGE] __attribute__((aligned(4096)));

static void read_bytes(const uint8_t *from, unsigned long turns)
{
    __asm__ volatile("1: ldr q0, [%0], #16\n subs %1, %1, #1\n b.ne 1b" : "+r"(from), "+r"(turns) : : "cc", "v0", "memory");
}

static void write_bytes(uint8_t *to, unsigned long turns)
{
    __asm__ volatile("1: str q0, [%0], #16\n subs %1, %1, #1\n b.ne 1b" : "+r"(to), "+r"(turns) : : "cc", "v0", "memory");
}

int main(void)
{
    for (int turn = 0; turn < 2; turn++) {
        syscall(SYS_prctl, MARK, 0, 0, 0, 0);
        read_bytes(large, LARGE / 16);
        for (int again = 0; again < 4; again++)
            read_bytes(large, SMALL / 16);
        write_bytes(written, LARGE / 16);
        syscall(SYS_prctl, MARK, 1, 0, 0, 0);
    }
    return 0;
}
