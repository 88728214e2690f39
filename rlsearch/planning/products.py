"""FLOPs of matrix products and convolutions, two a multiply-add: what a peak is given for.

Compilers write them in several ways. For GPUs they are calls of cuBLAS and cuDNN.
"""

import math
import re

from rlsearch.planning.hlo import Instruction

_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_LIBRARY = re.compile(r'custom_call_target="__(cu(?:blas|dnn)[^"]*)"')
_SUMMED = re.compile(
    r'lhs_contracting_dims=\{([\d,]*)\}|"lhs_contracting_dimensions":\[([\d,"]*)\]'
)


def library_of(instruction: Instruction) -> str:
    """Names the function of NVIDIA's libraries it calls, such as "cublas$gemm"; empty: none."""
    match = _LIBRARY.search(instruction.text) if instruction.opcode == "custom-call" else None
    return match[1] if match else ""


def flops_of(instruction: Instruction, around: dict[str, Instruction]) -> float:
    """Counts the FLOPs of one operation; `around` has those that give its operands."""
    library = library_of(instruction)
    if instruction.opcode == "dot" or library.startswith("cublas"):
        return _product_flops(instruction, around)
    if instruction.opcode == "convolution" or library.startswith("cudnn$conv"):
        left, right = (_shape(around[name]) for name in instruction.operands[:2])
        output = _shape(instruction)
        # The gradients of a convolution are called by its own window and labels.
        if library.startswith("cudnn$convBackwardInput"):
            left, output = output, left
        elif library.startswith("cudnn$convBackwardFilter"):
            right, output = output, right
        return _convolution_flops(instruction.text, left, right, output)
    if instruction.opcode == "reduce" and instruction.scope.endswith("/dot_general"):
        # A product with a vector is written as one element by element, and a sum.
        return 2.0 * math.prod(_shape(around[instruction.operands[0]]))
    return 0.0


def _shape(instruction: Instruction) -> tuple[int, ...]:
    """Returns the shape of its result; a library gives the room that it works in, too."""
    return instruction.arrays[0].shape


def _product_flops(instruction: Instruction, around: dict[str, Instruction]) -> float:
    summed = _SUMMED.search(instruction.text)
    if summed is None:
        raise ValueError(f"a product without the axes that it sums over: {instruction.text}")
    left = _shape(around[instruction.operands[0]])
    contracted = math.prod(left[int(axis)] for axis in re.findall(r"\d+", summed[1] or summed[2]))
    return 2.0 * math.prod(_shape(instruction)) * contracted


def _convolution_flops(
    text: str, left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]
) -> float:
    """Two a multiply-add with an element that is there: neither padding nor a hole of a dilation.

    A TPU's compiler writes every matrix product as a convolution.
    """
    labels = _LABELS.search(text)
    if labels is None:
        raise ValueError(f"a convolution without dim_labels: {text}")
    inputs, kernel, output = labels.groups()
    window = _window(text, sum(label.isdigit() for label in output))
    count = 1.0
    for axis, (size, stride, low, left_dilation, right_dilation) in enumerate(window):
        count *= window_pairs(
            left[inputs.index(str(axis))],
            result[output.index(str(axis))],
            size,
            stride,
            low,
            left_dilation,
            right_dilation,
        )
    groups = [
        int(match[1]) if (match := re.search(rf"{name}_group_count=(\d+)", text)) else 1
        for name in ("feature", "batch")
    ]
    features = left[inputs.index("f")] / groups[0]
    batch = left[inputs.index("b")] / groups[1]
    return 2.0 * count * features * batch * right[kernel.index("o")]


def _window(text: str, axes: int) -> list[tuple[int, int, int, int, int]]:
    """Lists for each spatial axis: size, stride, padding in front, dilation of the input, of the
    window"""
    fields = (
        dict(re.findall(r"(\w+)=([\dx_\-]+)", match[1])) if (match := _WINDOW.search(text)) else {}
    )

    def numbers(name: str, otherwise: int) -> list[int]:
        given = fields.get(name)
        if given is None:
            return [otherwise] * axes
        return [int(part.split("_")[0]) for part in given.split("x")]

    return list(
        zip(
            numbers("size", 1),
            numbers("stride", 1),
            numbers("pad", 0),
            numbers("lhs_dilate", 1),
            numbers("rhs_dilate", 1),
            strict=True,
        )
    )


def window_pairs(
    inputs: int, outputs: int, size: int, stride: int, low: int, left: int, right: int
) -> int:
    """Pairs of an output and a place of the window under which there is an input."""
    if size == 1 and low == 0 and left == 1:
        return outputs
    reach = (inputs - 1) * left + 1
    count = 0
    for tap in range(size):
        offset = tap * right - low
        # Outputs o with 0 <= o * stride + offset < reach, a multiple of `left`.
        first = max(0, -(offset // stride))
        last = min(outputs - 1, (reach - 1 - offset) // stride)
        if left == 1:
            count += max(0, last - first + 1)
        else:
            count += sum((o * stride + offset) % left == 0 for o in range(first, last + 1))
    return count
