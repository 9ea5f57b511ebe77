"""Instruction sets that this machine may lack: their files, compiled with instructions emulated."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parent / "src" / "_kernels"
N_CASES = 60
CHECKED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def compiler():
    """The C compiler; without it, or without the kernels' text, there is nothing to test."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("no C compiler")
    if not KERNELS.is_dir():
        pytest.skip("the text of the kernels is not here")
    return found


def compiled(compiler, folder, *flags):
    """Build the program that compares; returns its path, or None where a flag is unknown."""
    program = folder / "compare"
    done = subprocess.run(
        [compiler, "-O1", "-std=gnu11", "-Wno-psabi", "-DDG_EMULATE",
         f"-DN_CASES={N_CASES}", *flags,
         f"-I{HERE / 'emulation'}", f"-I{KERNELS}", str(HERE / "emulation" / "compare.c"),
         str(KERNELS / "byte_sums.c"),
         *(str(KERNELS / f"fixed_{name}.c") for name in ("point", "generic", "vnni", "amx")),
         "-lm", "-o", str(program)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and flags:
        return None
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.slow
def test_emulated_instruction_sets_equal_plain_c(compiler, tmp_path):
    """Catches a wrong sign, plane, place or tail in back ends that run on few machines.

    Memory is as large as the operations are told, so the sanitizer sees a read beyond it.
    """
    program = compiled(compiler, tmp_path, *CHECKED) or compiled(compiler, tmp_path)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 10 * N_CASES


@pytest.mark.slow
def test_the_real_instructions_are_compiled(compiler, tmp_path):
    """Catches an intrinsic that exists in the emulation alone, or has other arguments there."""
    for name, macro in (("vnni", "avx512vnni"), ("amx", "amx-int8")):
        probe = tmp_path / "probe.c"
        probe.write_text(f'#pragma GCC target("{macro}")\n#include <immintrin.h>\nint x;\n')
        flags = ["-O1", "-std=gnu11", f"-I{KERNELS}", "-c", "-o", str(tmp_path / "out.o")]
        if subprocess.run([compiler, *flags, str(probe)], capture_output=True).returncode:
            pytest.skip(f"the compiler has no {macro}")
        done = subprocess.run(
            [compiler, *flags, "-Wall", "-Wextra", "-Werror", str(KERNELS / f"fixed_{name}.c")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


# Those of setup.py that decide bits.
LIKE_THE_BUILD = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", ("qemu-aarch64-static", "qemu-aarch64")


def whole_work(compiler, program, *flags):
    """Build the program that learns, samples and infers with all kernels."""
    subprocess.run(
        [compiler, *LIKE_THE_BUILD, *flags, f"-I{KERNELS}",
         str(HERE / "emulation" / "other_machine.c"), *map(str, sorted(KERNELS.glob("*.c"))),
         "-lm", "-o", str(program)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return program


def hashes(*command):
    """Run it; returns what it prints, or None where the machine lacks the back end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stderr
    return None if done.returncode else done.stdout.splitlines()


@pytest.mark.slow
def test_another_architecture_has_the_same_bits(compiler, tmp_path):
    """Catches a rounding, an order of a sum or a conversion that is that of x86-64 alone: weights
    after learning, samples and means are equal on aarch64, and for each back end of this machine.
    """
    emulator = next(filter(None, map(shutil.which, EMULATOR)), None)
    if shutil.which(CROSS) is None or emulator is None:
        pytest.skip(f"needs {CROSS} and {EMULATOR[0]}: apt-get install gcc-aarch64-linux-gnu "
                    "libc6-dev-arm64-cross qemu-user-static")  # fmt: skip
    here = whole_work(compiler, tmp_path / "here")
    there = whole_work(CROSS, tmp_path / "there", "-static")
    expected = hashes(here, "generic")
    assert [line.split()[0] for line in expected] == [
        "learning", "normalizers", "sampling", "inference"
    ]  # fmt: skip
    assert hashes(emulator, there, "generic") == expected
    for name in ("avx2", "avx512", "vnni", "amx"):
        assert hashes(here, name) in (None, expected)
