// pyconfig.h comes from this machine's Python: what it says of types must hold where the wheel will run.
#include <Python.h>

static_assert(SIZEOF_INT == sizeof(int) && SIZEOF_LONG == sizeof(long) && SIZEOF_LONG_LONG == sizeof(long long));
static_assert(SIZEOF_VOID_P == sizeof(void*) && SIZEOF_SIZE_T == sizeof(size_t) &&
              SIZEOF_UINTPTR_T == sizeof(uintptr_t));
static_assert(SIZEOF_WCHAR_T == sizeof(wchar_t) && SIZEOF_TIME_T == sizeof(time_t) && SIZEOF_OFF_T == sizeof(off_t));
static_assert(SIZEOF_PTHREAD_T == sizeof(pthread_t) && SIZEOF_FLOAT == sizeof(float) &&
              SIZEOF_DOUBLE == sizeof(double));
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
