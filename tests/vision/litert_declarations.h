/* What the C++ snippet uses of LiteRT 2.1's C API, for compiling it against the library of the Python wheel, which comes
 * without headers. The names and types are those of litert/c of github.com/google-ai-edge/LiteRT, tag v2.1.2. */
#ifndef EVIT_MOBILE_LITERT_DECLARATIONS_H
#define EVIT_MOBILE_LITERT_DECLARATIONS_H

#include <stddef.h>
#include <stdint.h>

#define HANDLE(name) typedef class name##T *name;
HANDLE(LiteRtCompiledModel)
HANDLE(LiteRtCpuOptions)
HANDLE(LiteRtEnvironment)
HANDLE(LiteRtModel)
HANDLE(LiteRtOpaqueOptions)
HANDLE(LiteRtSignature)
HANDLE(LiteRtTensor)
HANDLE(LiteRtTensorBuffer)
HANDLE(LiteRtTensorBufferRequirements)
typedef struct LiteRtOptionsT *LiteRtOptions;

typedef enum { kLiteRtStatusOk = 0 } LiteRtStatus;
enum { kLiteRtHwAcceleratorCpu = 1 };
typedef enum { kLiteRtTensorBufferLockModeRead = 0, kLiteRtTensorBufferLockModeWrite = 1 } LiteRtTensorBufferLockMode;
typedef struct {
    int element_type;
    unsigned int rank : 7;
    bool has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
} LiteRtRankedTensorType;

extern "C" {
LiteRtStatus LiteRtCreateEnvironment(int, const class LiteRtEnvOption *, LiteRtEnvironment *);
LiteRtStatus LiteRtCreateModelFromFile(const char *, LiteRtModel *);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions *);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int);
LiteRtStatus LiteRtCreateCpuOptions(LiteRtOpaqueOptions *);
LiteRtStatus LiteRtFindCpuOptions(LiteRtOpaqueOptions, LiteRtCpuOptions *);
LiteRtStatus LiteRtSetCpuOptionsNumThread(LiteRtCpuOptions, int);
LiteRtStatus LiteRtAddOpaqueOptions(LiteRtOptions, LiteRtOpaqueOptions);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel *);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, size_t, LiteRtSignature *);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, size_t, LiteRtTensor *);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, size_t, LiteRtTensor *);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType *);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel, size_t, size_t,
                                                           LiteRtTensorBufferRequirements *);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel, size_t, size_t,
                                                            LiteRtTensorBufferRequirements *);
LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(LiteRtEnvironment, const LiteRtRankedTensorType *,
                                                             LiteRtTensorBufferRequirements, LiteRtTensorBuffer *);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void **, LiteRtTensorBufferLockMode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel, size_t, size_t, LiteRtTensorBuffer *, size_t, LiteRtTensorBuffer *);
}

#endif
