/* LiteRT's C API, opened at run time: the functions that runner.c calls, after litert/c of github.com/google-ai-edge/LiteRT. */
#ifndef EVIT_MOBILE_LITERT_API_H
#define EVIT_MOBILE_LITERT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_RANK 8

typedef void *Handle;
typedef int Status;
typedef struct {
    int32_t element_type;
    uint32_t rank; /* the low seven bits; the eighth says whether strides are given */
    int32_t dimensions[MAX_RANK];
    uint32_t strides[MAX_RANK];
    uint64_t spare[8]; /* room for a release that grows the structure */
} TensorType;

/* X(result, name, parameters): functions that every release has. */
#define COMMON(X) \
    X(Status, LiteRtCreateEnvironment, (int, const void *, Handle *)) \
    X(Status, LiteRtCreateOptions, (Handle *)) \
    X(Status, LiteRtSetOptionsHardwareAccelerators, (Handle, int)) \
    X(Status, LiteRtAddOpaqueOptions, (Handle, Handle)) \
    X(Status, LiteRtCreateCompiledModel, (Handle, Handle, Handle, Handle *)) \
    X(Status, LiteRtGetModelSignature, (Handle, size_t, Handle *)) \
    X(Status, LiteRtGetNumSignatureInputs, (Handle, size_t *)) \
    X(Status, LiteRtGetNumSignatureOutputs, (Handle, size_t *)) \
    X(Status, LiteRtGetSignatureInputName, (Handle, size_t, const char **)) \
    X(Status, LiteRtGetSignatureOutputName, (Handle, size_t, const char **)) \
    X(Status, LiteRtGetSignatureInputTensorByIndex, (Handle, size_t, Handle *)) \
    X(Status, LiteRtGetSignatureOutputTensorByIndex, (Handle, size_t, Handle *)) \
    X(Status, LiteRtGetRankedTensorType, (Handle, TensorType *)) \
    X(Status, LiteRtGetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *)) \
    X(Status, LiteRtGetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *)) \
    X(Status, LiteRtCreateManagedTensorBufferFromRequirements, (Handle, const TensorType *, Handle, Handle *)) \
    X(Status, LiteRtGetTensorBufferPackedSize, (Handle, size_t *)) \
    X(Status, LiteRtLockTensorBuffer, (Handle, void **, int)) \
    X(Status, LiteRtUnlockTensorBuffer, (Handle)) \
    X(Status, LiteRtRunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *))
#define OF_2_1(X) \
    X(Status, LiteRtCreateCpuOptions, (Handle *)) \
    X(Status, LiteRtFindCpuOptions, (Handle, Handle *)) \
    X(Status, LiteRtSetCpuOptionsNumThread, (Handle, int))
#define OF_2_3(X) X(Status, LiteRtCreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *))

#define DECLARE(result, name, parameters) static result(*name) parameters;
COMMON(DECLARE)
OF_2_1(DECLARE)
OF_2_3(DECLARE)

static bool is_2_1; /* which of the two interfaces the loaded library has */
static void *create_model_from_buffer; /* the one function whose parameters differ: the environment comes first in 2.3 */

enum { LOCK_READ, LOCK_WRITE };
enum { CPU = 1 };

#endif
