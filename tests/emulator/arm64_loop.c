/* Between marks 0 and 1, twice: a loop of two instructions a turn, 1000 turns and then 251000. */
#include <sys/syscall.h>
#include <unistd.h>

#define MARK 0x45564954u

static void measured(unsigned long turns)
{
    syscall(SYS_prctl, MARK, 0, 0, 0, 0);
    __asm__ volatile("1: subs %0, %0, #1\n b.ne 1b" : "+r"(turns) : : "cc");
    syscall(SYS_prctl, MARK, 1, 0, 0, 0);
}

int main(void)
{
    measured(1000);
    measured(251000);
    return 0;
}
