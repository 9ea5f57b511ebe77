"""Extensions and compiler flags; everything else stands in pyproject.toml.

DEEPGEN_DEBUG=1 builds with bounds checks and the address and undefined-behaviour sanitizers,
DEEPGEN_DEBUG=thread with bounds checks and the thread sanitizer.
DEEPGEN_NO_OPENMP=1 builds serial code even where the compiler has OpenMP.
"""

import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("src/_kernels")
SANITIZERS = {"1": "address,undefined", "thread": "thread"}.get(os.environ.get("DEEPGEN_DEBUG"))
DEBUG = SANITIZERS is not None

# -ffp-contract=off: a multiply-add is fused where the source says so and nowhere else, which is
# what makes every instruction set give the same bits. Never -ffast-math, never -march=native.
# -Werror=switch: a new kind of units that a kernel has no case for is an error, not another kind.
FLAGS = [
    "-O3", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-Werror=switch",
]  # fmt: skip
# The module's init function is the only symbol that others need; a stack that is written over ends
# the process; what the loader has filled in is read-only afterwards.
HARDENED = ["-fvisibility=hidden", "-fstack-protector-strong"]
HARDENED_LINK = ["-Wl,-z,relro,-z,now", f"-Wl,--version-script,{KERNELS / 'exports.map'}"]
DEBUG_FLAGS = [
    "-O1", "-g", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-Werror=switch",
    # CPython's -fwrapv would hide signed overflow from the sanitizer
    "-fno-wrapv", f"-fsanitize={SANITIZERS}", "-fno-omit-frame-pointer",
]  # fmt: skip


# Instruction sets that a compiler or its assembler may be too old for: a program of one
# instruction, and the macro that leaves the back end out.
NEWER = {
    "DG_NO_VNNI": """
        #pragma GCC target("avx512f,avx512vnni")
        #include <immintrin.h>
        __m512i f(__m512i a) { return _mm512_dpbusd_epi32(a, a, a); }
        int main(void) { return 0; }
    """,
    "DG_NO_AMX": """
        #pragma GCC target("amx-tile,amx-int8")
        #include <immintrin.h>
        void f(void) { _tile_dpbusd(0, 1, 2); _tile_dpbuud(0, 1, 2); }
        int main(void) { return 0; }
    """,
}
OPENMP = """
    #include <omp.h>
    int main(void) { return omp_in_parallel(); }
"""


class BuildExt(build_ext):
    """Adds OpenMP and newer instruction sets where the compiler has them; compiles on all cores."""

    def build_extensions(self):
        for macro, program in NEWER.items():
            if not self.compiles(program):
                for extension in self.extensions:
                    extension.define_macros.append((macro, None))
        if not DEBUG and self.compiles("int main(void) { return 0; }", *HARDENED, *HARDENED_LINK):
            for extension in self.extensions:
                extension.extra_compile_args.extend(HARDENED)
                extension.extra_link_args.extend(HARDENED_LINK)
        if os.environ.get("DEEPGEN_NO_OPENMP") != "1" and self.compiles(OPENMP, "-fopenmp"):
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        else:
            self.warn("the compiler has no OpenMP: building serial kernels")
        self.compile_side_by_side()
        super().build_extensions()

    def compile_side_by_side(self):
        """Let the compiler take the sources of an extension as many at a time as there are cores.

        `build_ext --parallel` takes extensions side by side, and there is but one.
        """
        compile_in_order = self.compiler.compile

        def compile_all(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                done = pool.map(lambda source: compile_in_order([source], **options), sources)
                return [name for names in done for name in names]

        self.compiler.compile = compile_all

    def compiles(self, program, *flags):
        """Compile and link a program."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            command = [*self.compiler.compiler_so, *flags, str(source), "-o", f"{folder}/probe"]
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
    depends=sorted(
        str(file) for file in KERNELS.glob("*") if file.suffix in (".h", ".pxi", ".map")
    ),
    include_dirs=[str(KERNELS)],
    extra_compile_args=DEBUG_FLAGS if DEBUG else FLAGS,
    extra_link_args=[f"-fsanitize={SANITIZERS}"] if DEBUG else [],
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
