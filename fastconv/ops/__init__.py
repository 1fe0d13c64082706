from fastconv.reference import *
