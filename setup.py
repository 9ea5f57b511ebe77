"""Extensions and compiler flags; everything else stands in pyproject.toml.

DEEPGEN_DEBUG=1 builds with bounds checks and the address and undefined-behaviour sanitizers.
DEEPGEN_NO_OPENMP=1 builds serial code even where the compiler has OpenMP.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("src/_kernels")
DEBUG = os.environ.get("DEEPGEN_DEBUG") == "1"

# -ffp-contract=off: a multiply-add is fused where the source says so and nowhere else, which is
# what makes every instruction set give the same bits. Never -ffast-math, never -march=native.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
DEBUG_FLAGS = [
    "-O1", "-g", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    # CPython's -fwrapv would hide signed overflow from the sanitizer
    "-fno-wrapv", "-fsanitize=address,undefined", "-fno-omit-frame-pointer",
]  # fmt: skip


class BuildExt(build_ext):
    """Adds OpenMP where the compiler has it; without it the same text builds serial."""

    def build_extensions(self):
        if self.has_openmp():
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        else:
            self.warn("the compiler has no OpenMP: building serial kernels")
        super().build_extensions()

    def has_openmp(self):
        """Compile and link a program of one parallel region."""
        if os.environ.get("DEEPGEN_NO_OPENMP") == "1":
            return False
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text("#include <omp.h>\nint main(void) { return omp_in_parallel(); }\n")
            command = [*self.compiler.compiler_so, "-fopenmp", str(source), "-o", f"{folder}/probe"]
            try:
                done = subprocess.run(
                    [word for word in command if word != "-c"], capture_output=True, check=False
                )
            except OSError:
                return False
            return done.returncode == 0


engine = Extension(
    "deepgen._kernels.engine",
    sources=[str(KERNELS / "engine.pyx"), *sorted(map(str, KERNELS.glob("*.c")))],
    depends=sorted(map(str, KERNELS.glob("*.h"))),
    include_dirs=[str(KERNELS)],
    extra_compile_args=DEBUG_FLAGS if DEBUG else FLAGS,
    extra_link_args=["-fsanitize=address,undefined"] if DEBUG else [],
)  # fmt: skip

setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=cythonize(
        [engine],
        include_path=["src"],
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        # a directive in a file's first lines would win over these
        compiler_directives={"boundscheck": DEBUG, "initializedcheck": DEBUG, "wraparound": False},
    ),
)
