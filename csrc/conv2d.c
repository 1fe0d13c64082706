#include "fastconv.h"
