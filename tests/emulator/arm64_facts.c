/* What an Arm64 program learns of its processor from the processor itself: MIDR_EL1, AT_HWCAP, AT_HWCAP2, in hexadecimal. */
#include <stdio.h>
#include <sys/auxv.h>

int main(void)
{
    unsigned long midr;
    __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
    printf("%lx %lx %lx\n", midr, getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
    return 0;
}
