"""Two inner loops in machine code, for the processor at hand.

They are written in the language of LLVM, which makes machine code of each in ten to forty
milliseconds. So workers, or the process that they are forked from, do that
for themselves: nothing is kept on a disk, and a first run is like any other. numpy and
Pillow do the same, with equal results; small work is left to them, for which importing LLVM
would take longer.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["COMPILER", "COPYING", "RESIZING", "CompiledFunction"]

COMPILER: Final = "llvmlite.binding"
"""The module that makes machine code."""

_LOGGER = logging.getLogger("dplabtools")
_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int64


class CompiledFunction:
    """A function that is compiled once it is worth it.

    Parameters
    ----------
    name : str
        Of the function.
    package : str
        Where its text is, in a file of this name that ends in ``.ll``.
    takes : sequence of ctypes type
        Its arguments. It returns nothing, and other threads run meanwhile.
    after : int
        How much work has to come up in a process for it to be compiled. If somebody else
        has imported the compiler, that is done at once.
    faster : tuple of (str, frozenset of str), optional
        Name of a file with a faster function of the same name, and what the processor has
        to have for that, in the words of LLVM.
    """

    def __init__(
        self,
        name: str,
        *,
        package: str,
        takes: Sequence[Any],
        after: int,
        faster: tuple[str, frozenset[str]] | None = None,
    ) -> None:
        self.name = name
        self.after = after
        self._faster = faster
        self._package = package
        self._takes = tuple(takes)
        self._work = 0
        self._tried = False
        self._function: Callable[..., None] | None = None

    def worth(self, work: int) -> Callable[..., None] | None:
        """Return the function if it is worth it by now, and can be compiled.

        Parameters
        ----------
        work : int
            How much more there is to be done.
        """
        self._work += work
        if not self._tried and (self._work > self.after or COMPILER in sys.modules):
            try:
                self.prepare()
            except Exception as error:  # noqa: BLE001 - however a compiler fails, we do without
                self._tried = True
                _LOGGER.info("slower without %s in machine code (%s)", self.name, error)
        return self._function

    def prepare(self) -> None:
        """Compile it, if that has not been tried; what the compiler raises is raised.

        Processes that are forked afterwards have it, too.
        """
        if self._tried:
            return
        self._tried = True  # threads that need it meanwhile do without
        try:
            self._function = self.compiled()
        except BaseException:
            self._tried = False
            raise

    def compiled(self) -> Callable[..., None]:
        """Return the function, compiled now; what the compiler raises is raised."""
        function = self._compile()
        from dplabtools.readers.llvm import let_go_of_library

        let_go_of_library()  # at the end: tidying up after the compiler takes code, too
        return function

    def _compile(self) -> Callable[..., None]:
        from importlib import resources

        import llvmlite.binding as llvm

        features, file = _features(llvm), self.name
        if self._faster is not None and self._faster[1].issubset(features.split(",")):
            file = self._faster[0]
        text = resources.files(self._package).joinpath(f"{file}.ll").read_text("utf-8")
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
        )
        module = llvm.parse_assembly(text)
        module.verify()
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        options = llvm.create_pipeline_tuning_options(speed_level=0)
        passes.run(module, llvm.create_pass_builder(machine, options))
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        address = engine.get_function_address(self.name)
        function: Any = ctypes.CFUNCTYPE(None, *self._takes)(address)
        function.engine = engine  # the machine code is there for as long as its engine
        return function  # type: ignore[no-any-return]


def _features(llvm: Any) -> str:  # noqa: ANN401 - llvmlite has no types
    """Return what the processor can do; not known: what all of its kind can."""
    try:
        features: str = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        return ""
    return features


COPYING: Final = CompiledFunction(
    "copy_parts",
    package="dplabtools.readers.native",
    takes=(_ADDRESS, _NUMBER, *(_ADDRESS, _ADDRESS), _NUMBER, _NUMBER, _ADDRESS, _NUMBER),
    after=20_000,
)
"""Works on parts of tiles."""
RESIZING: Final = CompiledFunction(
    "resize_images",
    package="dplabtools.readers",
    takes=(_ADDRESS, _NUMBER, _ADDRESS, _ADDRESS),
    after=30,
    faster=("resize_by_quads", frozenset({"+avx512bw", "+avx512vbmi", "+avx512vnni"})),
)
"""Works on images."""
