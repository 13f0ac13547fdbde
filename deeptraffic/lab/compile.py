"""Compilation of the entry points to a WebAssembly object file: Numba's LLVM code, generated for wasm32 by llvmlite.

Numba compiles for 64-bit x86, without optimising, so that nothing of that machine is in the code; LLVM then optimises
all of it at once for WebAssembly with 128-bit vectors. Addresses fit into 32 bits there and integers keep their 64.
What Numba's functions expect of its runtime, memory for arrays, is `RUNTIME`. Run by `build` in a process of its own:
`python -m deeptraffic.lab.compile OBJECT`, in `ENVIRONMENT`.
"""

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.core.callconv import CPUCallConv

from deeptraffic.lab.entries import ENTRIES, EntryPoint
from deeptraffic.policies import exponential
from deeptraffic.sim.code_digest import digest
from deeptraffic.sim.compiled import CompiledFunction, compiled

ENVIRONMENT = {"NUMBA_OPT": "0", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "0"}
TRIPLE = "wasm32-unknown-unknown"
FEATURES = "+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint,+mutable-globals"
LLVM_TYPES = {types.int32: "i32", types.float64: "double", types.none: "void"}
# Functions of the maths library that compiled functions call, by their names there; expf in `RUNTIME` is made of exp.
MATHS = {
    "exp": EntryPoint(exponential.exp, types.float64, (types.float64,)),
    "pow": EntryPoint(exponential.power, types.float64, (types.float64, types.float64)),
}
CALLED_BY_LLVM = {"__multi3", "exp", "expf", "pow"}  # in place of its own operations, once it generates code

# Arrays of compiled functions lie on a stack above `top`, which JavaScript moves past what it has laid out. A block
# has a header of 64 bytes: Numba's, at 48 the address of the block below, at 52 whether it is free. Functions that make
# the message of an error end the module's run instead. (LLVM would make a call of `__multi3` of its own body.)
RUNTIME = """
@top = global i32 0
@last = internal global i32 0
declare i32 @llvm.wasm.memory.size.i32(i32)
declare i32 @llvm.wasm.memory.grow.i32(i32, i32)
declare double @llvm.floor.f64(double)
declare void @llvm.trap()
declare double @exp(double)

define ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %top = load i32, ptr @top
  %above = add i32 %top, 63
  %at = and i32 %above, -64
  %data = add i32 %at, 64
  %bytes = trunc i64 %size to i32
  %end = add i32 %data, %bytes
  %have = call i32 @llvm.wasm.memory.size.i32(i32 0)
  %up = add i32 %end, 65535
  %pages = lshr i32 %up, 16
  %enough = icmp ule i32 %pages, %have
  br i1 %enough, label %place, label %grow
grow:
  %more = sub i32 %pages, %have
  %old = call i32 @llvm.wasm.memory.grow.i32(i32 0, i32 %more)
  %refused = icmp eq i32 %old, -1
  br i1 %refused, label %full, label %place
full:
  call void @llvm.trap()
  unreachable
place:
  %block = inttoptr i32 %at to ptr
  %array = inttoptr i32 %data to ptr
  store i64 1, ptr %block
  %slot = getelementptr {i64, ptr, ptr, ptr, i64}, ptr %block, i32 0, i32 3
  store ptr %array, ptr %slot
  %link = getelementptr i8, ptr %block, i32 48
  %below = load i32, ptr @last
  store i32 %below, ptr %link
  %free = getelementptr i8, ptr %block, i32 52
  store i32 0, ptr %free
  store i32 %at, ptr @last
  store i32 %end, ptr @top
  ret ptr %block
}

define void @NRT_MemInfo_call_dtor(ptr %block) {
  %flag = getelementptr i8, ptr %block, i32 52
  store i32 1, ptr %flag
  br label %look
look:
  %last = load i32, ptr @last
  %none = icmp eq i32 %last, 0
  br i1 %none, label %done, label %check
check:
  %uppermost = inttoptr i32 %last to ptr
  %place = getelementptr i8, ptr %uppermost, i32 52
  %free = load i32, ptr %place
  %is_free = icmp eq i32 %free, 1
  br i1 %is_free, label %pop, label %done
pop:
  store i32 %last, ptr @top
  %link = getelementptr i8, ptr %uppermost, i32 48
  %below = load i32, ptr %link
  store i32 %below, ptr @last
  br label %look
done:
  ret void
}

define ptr @NRT_Allocate(i64 %size) {
  %block = call ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 64)
  %array = getelementptr i8, ptr %block, i32 64
  ret ptr %array
}

define void @NRT_Free(ptr %array) {
  %block = getelementptr i8, ptr %array, i32 -64
  call void @NRT_MemInfo_call_dtor(ptr %block)
  ret void
}

define double @floor(double %x) {
  %y = call double @llvm.floor.f64(double %x)
  ret double %y
}

define void @__multi3(ptr %out, i64 %a, i64 %a_high, i64 %b, i64 %b_high) noinline optnone {
  %a0 = and i64 %a, 4294967295
  %a1 = lshr i64 %a, 32
  %b0 = and i64 %b, 4294967295
  %b1 = lshr i64 %b, 32
  %low = mul i64 %a0, %b0
  %carry = lshr i64 %low, 32
  %cross = mul i64 %a1, %b0
  %first = add i64 %cross, %carry
  %first_low = and i64 %first, 4294967295
  %first_high = lshr i64 %first, 32
  %other = mul i64 %a0, %b1
  %second = add i64 %other, %first_low
  %second_high = lshr i64 %second, 32
  %top = mul i64 %a1, %b1
  %sum = add i64 %top, %first_high
  %high = add i64 %sum, %second_high
  %c = mul i64 %a, %b_high
  %d = mul i64 %a_high, %b
  %e = add i64 %c, %d
  %f = add i64 %e, %high
  %product = mul i64 %a, %b
  store i64 %product, ptr %out
  %upper = getelementptr i8, ptr %out, i32 8
  store i64 %f, ptr %upper
  ret void
}

define i32 @numba_attempt_nocopy_reshape(
  i64 %axes, ptr %shape, ptr %strides, i64 %new_axes, ptr %new_shape, ptr %new_strides, i64 %item, i32 %fortran
) {
  br label %check
check:
  %left = phi i64 [ %new_axes, %0 ], [ %axis, %write ]
  %stride = phi i64 [ %item, %0 ], [ %next, %write ]
  %done = icmp eq i64 %left, 0
  br i1 %done, label %end, label %write
write:
  %axis = sub i64 %left, 1
  %index = trunc i64 %axis to i32
  %to = getelementptr i64, ptr %new_strides, i32 %index
  store i64 %stride, ptr %to
  %from = getelementptr i64, ptr %new_shape, i32 %index
  %size = load i64, ptr %from
  %next = mul i64 %stride, %size
  br label %check
end:
  ret i32 1
}

define float @expf(float %x) {
  %wide = fpext float %x to double
  %y = call double @exp(double %wide)
  %z = fptrunc double %y to float
  ret float %z
}

define void @PyErr_SetString(ptr %kind, ptr %text) { call void @llvm.trap() unreachable }
define ptr @NRT_MemInfo_alloc(i64 %size) { call void @llvm.trap() unreachable }
define double @log10(double %x) { call void @llvm.trap() unreachable }
"""
WRAPPER = """
declare void @llvm.trap()
declare i32 @"{native}"(ptr, ptr{types})
define {returns} @{name}({arguments}) {{
  %result = alloca i64
  %error = alloca ptr
  %status = call i32 @"{native}"(ptr %result, ptr %error{passed})
  switch i32 %status, label %failed [i32 0, label %done i32 -2, label %done]
failed:
  call void @llvm.trap()
  unreachable
done:
  {end}
}}
"""


set_error = CPUCallConv.set_static_user_exc


def set_error_without_place(self: CPUCallConv, builder: Any, kind: Any, values: Any = None, *_: Any, **__: Any) -> None:
    """Set an error that names no file and line, which Numba adds, so that all machines compile the same bytes."""
    set_error(self, builder, kind, values)


def compile_entries() -> bytes:
    """Return the object file of all entry points; in a process of its own, since it changes Numba's errors."""
    CPUCallConv.set_static_user_exc = set_error_without_place  # type: ignore[method-assign, assignment]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLE)
    machine = target.create_target_machine(features=FEATURES, opt=3, reloc="static")
    module = parse("", machine)
    for each in ENTRIES:
        add_entry(module, each.function.__name__, each, machine)
    for name, each in MATHS.items():
        add_entry(module, name, each, machine)
    module.link_in(parse(RUNTIME, machine))
    names = {each.function.__name__ for each in ENTRIES} | CALLED_BY_LLVM
    for function in module.functions:
        if not function.is_declaration and function.name not in names:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration and variable.name != "top":
            variable.linkage = "internal"
    optimise(module, machine)
    return bytes(machine.emit_object(module))


def source_digest() -> str:
    """Return a digest of what the module is made from: the entry points with all that they call, and this file."""
    made = (*ENTRIES, *MATHS.values())
    functions = [(str(each.returns), str(each.arguments), digest(compiled_function(each))) for each in made]
    return hashlib.sha256(repr(functions).encode() + Path(__file__).read_bytes()).hexdigest()[:16]


def compiled_function(each: EntryPoint) -> Any:
    """Return the compiled function of an entry point, which may be one already."""
    return each.function if isinstance(each.function, CompiledFunction) else compiled(each.function)


def add_entry(module: Any, name: str, each: EntryPoint, machine: Any) -> None:
    """Link the code of an entry point into the module, with a function of this name that takes plain arguments."""
    found = compiled_function(each).body(each.arguments)
    assert found.signature.return_type == each.returns, f"{name} returns {found.signature.return_type}"
    kinds, returns = [LLVM_TYPES[kind] for kind in each.arguments], LLVM_TYPES[each.returns]
    load = f"%value = load {returns}, ptr %result\n  ret {returns} %value"
    wrapper = WRAPPER.format(
        native=found.fndesc.llvm_func_name,
        name=name,
        returns=returns,
        types="".join(f", {kind}" for kind in kinds),
        arguments=", ".join(f"{kind} %a{k}" for k, kind in enumerate(kinds)),
        passed="".join(f", {kind} %a{k}" for k, kind in enumerate(kinds)),
        end="ret void" if returns == "void" else load,
    )
    module.link_in(parse(wrapper, machine))  # first: what nothing refers to yet, LLVM does not link
    module.link_in(parse(str(found.library._get_module_for_linking()), machine))


def parse(text: str, machine: Any) -> Any:
    """Return a module of LLVM code, for WebAssembly whatever it was generated for."""
    module = llvm.parse_assembly(re.sub(r"^target (datalayout|triple) = .*$", "", text, flags=re.MULTILINE))
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    module.verify()
    return module


def optimise(module: Any, machine: Any) -> None:
    """Optimise a whole module for its machine, once more after the counts of references are reduced."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization, options.slp_vectorization = True, True
    for prunes in (True, False):
        builder = llvm.create_pass_builder(machine, options)
        passes = builder.getModulePassManager()
        if prunes:
            passes.add_refprune_pass()
        passes.run(module, builder)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(compile_entries())
