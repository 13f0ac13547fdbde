"""Just-in-time compilation by Numba, with a cache of machine code in the user's cache folder.

Float64 as IEEE has it: no fast maths, no contraction into fused multiply-adds, a division by zero gives inf or NaN as
the game's own language does. The interpreter's lock is released, so threads run games side by side.

Numba gives each function that another one calls machine code and a Python wrapper of its own, though the caller gets
it inlined. Here a callee stays LLVM's intermediate code (`CompiledFunction.body`), and machine code is made once of a
whole tree of calls, for the function that Python calls: in half the time.
"""

import gc
import hashlib
import importlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import llvmlite.binding as llvm
import numba
from numba.core import event, typed_passes, types, untyped_passes
from numba.core.bytecode import FunctionIdentity
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.datamodel import register_default
from numba.core.datamodel.models import OpaqueModel
from numba.core.dispatcher import _FunctionCompiler
from numba.core.environment import Environment, lookup_environment
from numba.core.imputils import lower_constant
from numba.core.registry import CPUDispatcher
from numba.core.runtime.nrt import rtsys
from numba.core.sigutils import normalize_signature
from numba.core.target_extension import CPU, jit_registry
from numba.core.targetconfig import TargetConfig
from numba.core.typing.templates import make_concrete_template

from deeptraffic.sim.code_cache import CodeCache, cache_folder

PACKAGES = (__name__.partition(".")[0], "agents", "representation")
FAST = {"reassoc", "contract", "arcp", "nsz"}

NOTICE = "deeptraffic: compiling for this machine, once; this may take some seconds ..."
NOTICE_UNCACHED = "deeptraffic: compiling; set NUMBA_CACHE_DIR to a writable folder, so that the next start need not"


def mangled_record(record: types.Record) -> tuple[str, tuple[int]]:
    """Return what Numba puts into the symbols of functions of a record: a hash of its fields.

    Numba itself takes a number that each process counts anew. Machine code that two processes cached for two roads has
    the same symbols then, and a process that loads both runs the code of one road on the games of the other.
    """
    return "Record", (int(hashlib.sha256(record.name.encode()).hexdigest()[:15], 16),)


types.Record.mangling_args = property(mangled_record)  # type: ignore[method-assign, assignment]


@cache
def option_defaults(kind: type[TargetConfig]) -> dict[str, Any]:
    """Return the default of each option of compilation."""
    return {name: option.default for name, option in kind.options.items()}


def option_values(options: TargetConfig) -> dict[str, Any]:
    """Return the value of each option: Numba asks one by one, and often."""
    return option_defaults(type(options)) | options._values


TargetConfig.values = option_values  # type: ignore[method-assign]
TargetConfig.__hash__ = lambda options: hash(type(options))  # type: ignore[method-assign]


def number_functions() -> None:
    """Number the functions that this process compiles from a random number on.

    Numba counts from 1 in each process. The symbols of two functions that two processes cached may be the same then,
    and whoever links both files calls one in place of the other.
    """
    FunctionIdentity._unique_ids = count(secrets.randbits(52))


number_functions()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=number_functions)


def compiled(function: Callable[..., Any], fast_math: bool | set[str] = False, inline: bool = False) -> Any:
    """Compile `function` on its first call for each type of arguments, and keep the machine code on disk."""
    if numba.config.DISABLE_JIT:
        return function
    options = {"nopython": True, "nogil": True, "error_model": "numpy", "fastmath": fast_math, "forceinline": inline}
    dispatcher = CompiledFunction(function, {}, options, OurCompiler)
    if cache_folder() is not None and Path(function.__code__.co_filename).is_file():
        dispatcher._cache = CodeCache(dispatcher)
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that is always made part of its callers, as `compiled`: a step of a hot loop."""
    return compiled(function, inline=True)


def learner_compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of a learner, as `compiled`, but its sums may be reordered, so that a vector unit adds them.

    NaN and infinity keep their meaning. The simulator's functions that it calls stay as IEEE has them.
    """
    return compiled(function, FAST)


# --- functions as values --------------------------------------------------------------------------------------------


class FunctionType(types.Dispatcher):
    """Type of a compiled function as a value, of which a caller needs nothing: it finds the body by the type."""

    def __init__(self, dispatcher: CPUDispatcher) -> None:
        super().__init__(dispatcher)
        self.name = f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}"  # Numba's holds an address


register_default(FunctionType)(OpaqueModel)


@lower_constant(FunctionType)
def nothing(context: Any, builder: Any, kind: types.Type, value: Any) -> Any:
    """Put no address into the caller's code, as Numba would, since that cannot be cached."""
    return context.get_dummy_value()


# --- two steps: bodies in intermediate code, machine code of a tree of calls ----------------------------------------


class Body(JITCodeLibrary):
    """Intermediate code of one function, which knows the bodies that it calls."""

    known: ClassVar[dict[tuple[str, bytes], "Body"]] = {}  # those from files, of which many hold the same

    @classmethod
    def of(cls, codegen: Any, name: str, bitcode: bytes) -> "Body":
        """Return the body of a name and a code, the same object whenever these are the same."""
        if (name, bitcode) not in cls.known:
            body = cls.known[name, bitcode] = cls(codegen, name)
            body._final_module, body._finalized = llvm.parse_bitcode(bitcode), True
        return cls.known[name, bitcode]

    def _optimize_functions(self, ll_module: Any) -> None:
        """Run LLVM's passes on what the module defines (Numba: on each declaration as well)."""
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                passes.run(function, builder)

    def finalize(self) -> None:
        """Let every caller have a copy of its own."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.external:
                function.linkage = "linkonce_odr"
        self._finalized = True

    def tree(self) -> dict[JITCodeLibrary, Any]:
        """Return the modules of this body and of all that it calls, directly or not, each after one of its callers.

        (What nothing refers to yet, LLVM does not link.)
        """
        found: dict[JITCodeLibrary, Any] = {}
        waiting: list[JITCodeLibrary] = [self]
        for library in waiting:
            if library not in found:
                library._ensure_finalized()
                is_body = isinstance(library, Body)
                found[library] = library._final_module if is_body else library._get_module_for_linking()
                waiting += library._linking_libraries if is_body else ()
        return found

    def _get_module_for_linking(self) -> Any:
        """Return the code of the tree, for functions that were not compiled here."""
        if self._shared_module is None:
            own, *others = self.tree().values()
            self._shared_module = own.clone()
            for module in others:
                self._shared_module.link_in(module, preserve=True)
        return self._shared_module


class NumbasCompiler(CompilerBase):
    """Numba's passes for a function of its own, up to the intermediate code."""

    def define_pipelines(self) -> list[PassManager]:
        """Return them."""
        self.state.library = Body(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.flags.no_compile = True
        return [self.passes()]

    def passes(self) -> PassManager:
        """Return the passes."""
        return DefaultPassBuilder.define_nopython_pipeline(self.state)


class OurCompiler(NumbasCompiler):
    """As `NumbasCompiler`, without the passes for what our functions do not contain (parallel loops, list literals)."""

    def passes(self) -> PassManager:
        """Return the passes."""
        manager = PassManager("deeptraffic")
        for each in (
            *(untyped_passes.TranslateByteCode, untyped_passes.FixupArgs, untyped_passes.IRProcessing),
            untyped_passes.RewriteSemanticConstants,
            *(untyped_passes.DeadBranchPrune, untyped_passes.GenericRewrites, untyped_passes.ReconstructSSA),
            *(typed_passes.NopythonTypeInference, typed_passes.PreLowerStripPhis, typed_passes.NopythonRewrites),
            *(typed_passes.IRLegalization, typed_passes.AnnotateTypes, typed_passes.NativeLowering),
            typed_passes.NoPythonBackend,
        ):
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return manager


class TwoSteps(_FunctionCompiler):
    """Compiles one function to machine code that Python can call, by way of its body."""

    def compile(self, args: Any, return_type: Any) -> CompileResult:
        """Return the machine code."""
        with no_collection():
            return self._machine_code(args)

    def _machine_code(self, args: Any) -> CompileResult:
        body, context = self.dispatcher.body(args), self.targetdescr.target_context.subtarget(enable_nrt=True)
        library = JITCodeLibrary(context.codegen(), self.py_func.__qualname__)
        library.enable_object_caching()
        fndesc, environment = copy(body.fndesc), own_environment(body.environment)
        fndesc.env_name = environment.env_name
        context.create_cpython_wrapper(library, fndesc, environment, None, release_gil=True)
        for module in body.library.tree().values():
            library._final_module.link_in(module, preserve=True)
        environments = [environment, *own_environments(library._final_module)]
        entry_point = context.get_executable(library, fndesc, environment)
        for each in environments:
            library.codegen.set_env(each.env_name, each)
        parts = {"library": library, "fndesc": fndesc, "environment": environment, "entry_point": entry_point}
        return body._replace(**parts, referenced_envs=tuple(environments))

    def compile_body(self, args: Any) -> CompileResult:
        """Return the intermediate code."""
        with event.trigger_event("numba:compile", {"dispatcher": self.dispatcher, "args": args, "return_type": None}):
            return super().compile(args, None)


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage: compilation makes millions of objects, and most of them stay until it ends."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def own_environment(environment: Environment) -> Environment:
    """Return a copy under a name of its own.

    Machine code finds the Python objects that it needs in an environment, through a variable of the environment's name.
    Were it that of the body, of which other machine code has copies, one of several variables would be set, and code
    from a file would take the objects that this process has collected for those that it was made with.
    """
    own = Environment(environment.globals)
    own.consts[:] = environment.consts
    own.env_name = f"{environment.env_name}.{next(FunctionIdentity._unique_ids)}"
    Environment._memo[own.env_name] = own
    return own


def own_environments(module: Any) -> list[Environment]:
    """Give a module copies of the environments that it refers to by those of bodies; return them."""
    found = []
    for variable in module.global_variables:
        environment = lookup_environment(variable.name)
        if environment is not None and variable.name.count(".") == 0:
            found.append(own_environment(environment))
            variable.name = found[-1].env_name
    return found


class CompiledFunction(CPUDispatcher):
    """A function of Numba's whose machine code is made in two steps.

    bodies: intermediate code by types of arguments
    """

    def __init__(
        self, py_func: Callable[..., Any], locals: Any, targetoptions: Any, pipeline: Any = OurCompiler
    ) -> None:
        options = {**targetoptions, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        super().__init__(py_func, locals, options, pipeline)
        self.is_ours = pipeline is OurCompiler
        self._compiler = TwoSteps(py_func, self.targetdescr, options, locals, pipeline)
        self._compiler.dispatcher = self
        self.bodies: dict[tuple[types.Type, ...], CompileResult] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a module's function by its name: Numba would make another one, and no type of it equals its own."""
        module, name = self.py_func.__module__, self.py_func.__qualname__
        if getattr(sys.modules.get(module), name, None) is self:
            return named_function, (module, name)
        return super().__reduce__()

    @property
    def _numba_type_(self) -> types.Type:
        return self._function_type

    @property
    def _type(self) -> types.Type:
        return self._function_type

    @_type.setter
    def _type(self, _: types.Type) -> None:  # Numba's constructor sets its own type
        self._function_type = FunctionType(self)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Type a call by other compiled code."""
        signature, args = self._compiler.fold_argument_types(args, kws)
        args = tuple(widen(each) for each in args) if self.is_ours else tuple(args)
        name, body = self.py_func.__name__, self.body(args)
        return make_concrete_template(f"CallTemplate({name})", name, [body.signature]), signature, args, {}

    def get_overload(self, sig: Any) -> Any:
        """Return the key under which a caller finds the body."""
        return self.bodies[tuple(normalize_signature(sig)[0])].fndesc

    def body(self, args: tuple[types.Type, ...]) -> CompileResult:
        """Return the intermediate code for arguments of these types."""
        if args not in self.bodies:
            with global_compiler_lock, callees_stay_bodies(self.targetctx.codegen()):
                found = self._load(args)
                if found is None:
                    found = self._compiler.compile_body(args)
                    self._save(args, found)
                self.targetctx.insert_user_function(found.fndesc, found.fndesc, [found.library])
                self.bodies[args] = found
        return self.bodies[args]

    def _load(self, args: tuple[types.Type, ...]) -> CompileResult | None:
        if not isinstance(self._cache, CodeCache):
            return None
        return self._cache.load("body", args, self.targetctx.codegen(), partial(restored, self.targetctx))

    def _save(self, args: tuple[types.Type, ...], body: CompileResult) -> None:
        if isinstance(self._cache, CodeCache) and not any(each.has_dynamic_globals for each in body.library.tree()):
            self._cache.save("body", args, self.targetctx.codegen(), reduced(body))


def named_function(module: str, name: str) -> CompiledFunction:
    """Return a module's compiled function."""
    return getattr(importlib.import_module(module), name)


def reduced(body: CompileResult) -> tuple[Any, ...]:
    """Return a body as picklable parts, from which `restored` makes it again."""
    tree = {library: module for library, module in body.library.tree().items() if library is not rtsys.library}
    modules = [(library.name, module.as_bitcode()) for library, module in tree.items()]
    environments = [one for each in tree for one in body._replace(library=each)._find_referenced_environments()]
    body.fndesc.typemap = body.fndesc.calltypes = None  # Numba's own cache leaves them out, too
    return modules, body.fndesc, body.environment, body.signature, environments


def restored(
    context: Any, modules: list[tuple[str, bytes]], fndesc: Any, environment: Any, signature: Any, environments: Any
) -> CompileResult:
    """Return a body from its parts."""
    library, *callees = (Body.of(context.codegen(), name, bitcode) for name, bitcode in modules)
    if not library._linking_libraries:
        library._linking_libraries = [*callees, rtsys.library]
    parts = {"library": library, "fndesc": fndesc, "environment": environment, "signature": signature}
    empty = CompileResult(*[None] * len(CompileResult._fields))
    return empty._replace(**parts, referenced_envs=environments, target_context=context, objectmode=False)


def widen(kind: types.Type) -> types.Type:
    """Return the type that a callee takes for an argument: one for all integers that fit into int64."""
    kind = types.unliteral(kind)
    narrow = isinstance(kind, types.Integer) and (kind.bitwidth < 64 or kind.signed)
    return types.int64 if narrow else kind


@contextmanager
def callees_stay_bodies(codegen: Any) -> Iterator[None]:
    """While a body is compiled, give none of Numba's own functions that it calls machine code either."""
    library, jit = codegen._library_class, jit_registry[CPU]
    codegen._library_class = Body
    jit_registry.pop(CPU)  # it takes no second value
    jit_registry[CPU] = lambda **options: (
        lambda function: CompiledFunction(function, {}, {"nopython": True, **options}, NumbasCompiler)
    )
    try:
        yield
    finally:
        codegen._library_class = library
        jit_registry.pop(CPU)
        jit_registry[CPU] = jit


class CompilationNotice(event.Listener):
    """Message on standard error when Numba compiles a function of these packages for the first time in a process."""

    said = False

    def on_start(self, event: Any) -> None:
        """Print it."""
        module = event.data["dispatcher"].py_func.__module__ or ""  # a function may belong to none
        ours = module.partition(".")[0] in PACKAGES
        if self.said or not ours:
            return
        self.said = True
        print(NOTICE_UNCACHED if cache_folder() is None else NOTICE, file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing to do: the message is a line of its own."""


event.register("numba:compile", CompilationNotice())
