/* Shows a program a CPU without AVX-512 and AMX, so that runtimes which choose their kernels by the instruction CPUID
 * can be compared as on a laptop with AVX2 (with EDGENET_ISA=avx_vnni: with AVX2 and AVX-VNNI). For Linux on CPUs that
 * can refuse CPUID (`cpuid_fault` in /proc/cpuinfo):
 *
 *     gcc -O2 -shared -fPIC -o as_older_cpu.so bench/peers/as_older_cpu.c
 *     LD_PRELOAD=$PWD/as_older_cpu.so EDGENET_ISA=avx2 python -m edgenet.bench peers ...
 *
 * CPUID then raises SIGSEGV; the handler executes it and takes features out of its answer. Source: Intel 64 and IA-32
 * Architectures Software Developer's Manual, CPUID; arch_prctl(2), ARCH_SET_CPUID.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

/* Leaf 7, subleaf 0: AVX-512 in EBX, ECX and EDX; AMX in EDX. Subleaf 1: AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA. */
#define HIDDEN_EBX (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define HIDDEN_ECX (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
#define HIDDEN_EDX (BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25))
#define AVX_VNNI BIT(4)
#define HIDDEN_1_EAX (BIT(5) | BIT(21) | BIT(23))
#define HIDDEN_1_EDX (BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19) | BIT(21))
#define LEGACY_AND_AVX_STATE 7u

static struct sigaction previous;
static uint32_t vnni;

static int allow_cpuid(int allowed) { return (int)syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void answer(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    if (code[0] != 0x0f || code[1] != 0xa2) { /* not CPUID: a fault of the program's own */
        sigaction(SIGSEGV, &previous, NULL);
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX], a, b, c, d;
    allow_cpuid(1);
    __cpuid_count(leaf, subleaf, a, b, c, d);
    allow_cpuid(0);
    if (leaf == 7 && subleaf == 0) {
        b &= ~HIDDEN_EBX;
        c &= ~HIDDEN_ECX;
        d &= ~HIDDEN_EDX;
    } else if (leaf == 7 && subleaf == 1) {
        a &= ~(HIDDEN_1_EAX | vnni);
        d &= ~HIDDEN_1_EDX;
    } else if (leaf == 0xd && subleaf == 0) {
        a &= LEGACY_AND_AVX_STATE;
    } else if (leaf == 0x1d || leaf == 0x1e) { /* tiles */
        a = b = c = d = 0;
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    const char *wanted = getenv("EDGENET_ISA");
    struct sigaction action;
    vnni = wanted && !strcmp(wanted, "avx_vnni") ? 0 : AVX_VNNI;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous);
    if (allow_cpuid(0)) {
        fputs("as_older_cpu: this machine cannot refuse CPUID\n", stderr);
        exit(1);
    }
}
