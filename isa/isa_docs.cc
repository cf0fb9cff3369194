#include "isa/isa_docs.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "isa/f24.h"
#include "isa/instruction.h"
#include "isa/program.h"

namespace mkvm::isa {
namespace {

constexpr char kIntroduction[] = R"(# The instruction set

<!-- Generated from isa/opcodes.def. To renew: mkvm isa > docs/isa.md -->

ISA version $version. A program is one queue of instructions per worker. In
every pass (one token of a decode program) each worker carries out its queue
from the first instruction to `halt`, in order. What orders instructions of
different workers is written in the instructions themselves: the counters they
wait for and the counter they signal. `isa/opcodes.def` is the source of
everything below; [program_format.md](program_format.md) describes the file,
and [memory_model.md](memory_model.md) what waits and signals guarantee.

## Encoding

An instruction is 128 bytes, 128-byte aligned, little-endian.

```
   byte 0       2       4     5     6        8          12         16
  +-----------+-------+-----+-----+--------+----------+----------+
  | opcode    | flags |waits|lags |tagged  | signal   | polled   |
  +-----------+-------+-----+-----+--------+----------+----------+
  | wait[0]: counter, threshold   | wait[1]: counter, threshold  |  16..31
  | wait[2]: counter, threshold   | wait[3]: counter, threshold  |  32..47
  +-------------------------------+------------------------------+
  | operands: up to 20 words of 32 bits, in the order below      |  48..127
  +--------------------------------------------------------------+
```

| Field | Meaning |
|---|---|
| `opcode` | what to do; numbers are never reused |
| `flags` | bit 0, *release*: another worker may acquire the signal by a counter wait. Assembly sets it unless the signal is `relaxed`. |
| `waits` | number of waits, 0 to 4 |
| `lags` | bit i: wait i is for the previous pass (`lag`) |
| `tagged` | bit i: wait i may be carried out by polling the tags of the data (`tagged`) |
| `signal` | the counter that ticks when the writes are visible; 0xffffffff: none |
| `polled` | bit i: operand i is read by polling the tags of its elements |

Operands are 32-bit words: the index of a buffer (0xffffffff: none), an
unsigned number, a binary32 number, or an enumerator. Words and bits without a
meaning are zero.

Counters only ever grow. With `producers` signals to a counter per pass, wait i
of pass p (counted from 0) is over when the counter has reached
`p * producers + threshold`, or with a lag `(p - 1) * producers + threshold`
(no wait in pass 0). A waiter waits for all producers: `threshold` equals
`producers`.

## Number formats

| Name | Bytes | Of | Value |
|---|---|---|---|
| `f24` | 4 | activations | binary32 rounded to 16 significant bits; the low byte is the tag of the pass that wrote it |
| `bf16` | 2 | weights, KV cache | the upper half of a binary32 |
| `f32` | 4 | rope tables, logits | binary32 |
| `i32` | 4 | tokens, positions | two's complement |
| `ranked` | 8 | candidates of an argmax | binary32 score, 8-bit tag, 24-bit index |

```
          31 30       23 22              8 7      0
         +--+-----------+-----------------+--------+
  f24    |s | exponent  | 15-bit mantissa |  tag   |
         +--+-----------+-----------------+--------+

          63         40 39   32 31                0
         +-------------+-------+-------------------+
  ranked | index       |  tag  | score (binary32)  |
         +-------------+-------+-------------------+
```

The tag of pass p is `1 + p % 255`; 0 is what cleared memory holds. A tag says
that the element is there, so a reader can poll the data instead of a counter.
Hosts see `f24` as binary32 with a low byte of zero.

## Where values round

Everything is computed in binary32; sums are binary32 sums in an order that the
program fixes, so that a program gives the same bits again on the same machine.
An activation rounds once, where it is stored:

- A store to `f24` rounds to nearest even, 16 significant bits: a relative error
  of at most 2^-16. Overflow goes to infinity, NaN stays NaN.
- `gemv` multiplies bf16 weights with 16-bit activations exactly. On a GPU the
  tensor cores take an activation as the sum of two bf16, which holds all of its
  16 bits, and add in binary32.
- `gemv` with prologue `rms_norm` multiplies the weights with x * g and the sum
  with 1 / sqrt(mean(x^2) + eps). x * g has up to 24 significant bits: the CPU
  keeps them, a GPU keeps 16 of them, again as two bf16.
- `gemv` with epilogue `argmax` ranks the scores in binary32, before any
  rounding; an `f32` y is not rounded at all.
- The KV cache holds bf16: k after norm and rotation, v as it comes, each
  rounded once to nearest even. q rounds to `f24` before it meets them.
- Scores, softmax, norms and the rotation are in binary32. A split's partial
  result (`part`) is stored in `f24`: acc, m and l, relative to the stored m.

)";

std::string DTypesText(uint32_t dtypes) {
  std::vector<absl::string_view> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(DType::kRanked); ++i) {
    if (dtypes >> i & 1) names.push_back(Name(static_cast<DType>(i)));
  }
  return absl::StrJoin(names, " or ");
}

absl::string_view AccessText(const OperandInfo& operand) {
  switch (operand.access) {
    case AccessKind::kRead:
      return "read";
    case AccessKind::kWeight:
      return "weight";
    case AccessKind::kWrite:
      return "write";
    case AccessKind::kUpdate:
      return "update";
  }
  return "";
}

std::string ImmediateText(const OperandInfo& operand) {
  switch (operand.kind) {
    case OperandKind::kU32:
      return operand.has_default
                 ? absl::StrCat("u32, default ", operand.default_bits)
                 : "u32";
    case OperandKind::kF32:
      return operand.has_default
                 ? absl::StrCat("f32, default ",
                                FloatOfBits(operand.default_bits))
                 : "f32";
    case OperandKind::kEnum: {
      std::vector<std::string> values;
      for (size_t i = 0; i < operand.values.size(); ++i) {
        values.push_back(absl::StrCat(i, " `", operand.values[i], "`"));
      }
      return absl::StrJoin(values, ", ");
    }
    case OperandKind::kBuffer:
      break;
  }
  return "";
}

// Words in lines of at most 80 columns.
std::string Wrap(absl::string_view text) {
  std::string lines;
  size_t column = 0;
  for (absl::string_view word : absl::StrSplit(text, ' ')) {
    const bool fits = column + 1 + word.size() <= 80;
    absl::StrAppend(&lines, column == 0 ? "" : fits ? " " : "\n", word);
    column = (column != 0 && fits ? column + 1 : 0) + word.size();
  }
  return lines;
}

// A bar would end the cell of a table.
std::string Cell(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}});
}

void AppendOperands(const OpcodeInfo& info, std::string& text) {
  if (info.operands.empty()) {
    absl::StrAppend(&text, "No operands.\n\n");
    return;
  }
  absl::StrAppend(&text,
                  "| Word | Operand | Kind | Shape or meaning, unit |\n"
                  "|---|---|---|---|\n");
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const OperandInfo& operand = info.operands[i];
    const bool is_buffer = operand.kind == OperandKind::kBuffer;
    const std::string kind =
        is_buffer
            ? absl::StrCat(AccessText(operand), " ", DTypesText(operand.dtypes),
                           operand.optional ? ", optional" : "")
            : ImmediateText(operand);
    absl::StrAppend(&text, "| ", i, " | `", operand.name, "` | ", Cell(kind),
                    " | ", Cell(is_buffer ? operand.shape : operand.doc),
                    " |\n");
  }
  absl::StrAppend(&text, "\n");
}

}  // namespace

std::string OpcodeMarkdown(const OpcodeInfo& info) {
  std::string text =
      absl::StrFormat("### `%s` (0x%02x)\n\n```\n%s\n```\n\n", info.name,
                      static_cast<uint32_t>(info.opcode), Wrap(info.synopsis));
  AppendOperands(info, text);
  if (!info.requirements.empty()) {
    absl::StrAppend(&text, "Rejected where:\n\n");
    for (absl::string_view requirement : info.requirements) {
      absl::StrAppend(&text, "- ", requirement, "\n");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string IsaMarkdown() {
  std::string text = absl::StrReplaceAll(
      kIntroduction, {{"$version", absl::StrCat(kIsaVersion)}});
  absl::StrAppend(&text,
                  "## Opcodes\n\n"
                  "A *read* needs its data; a *weight* depends on nothing at "
                  "run time and may be\nfetched ahead of the waits; a *write* "
                  "writes every element of its region; an\n*update* reads "
                  "and writes parts of a state buffer.\n\n"
                  "| Number | Opcode | Operands |\n|---|---|---|\n");
  for (const OpcodeInfo& info : AllOpcodes()) {
    std::vector<absl::string_view> names;
    for (const OperandInfo& operand : info.operands) {
      names.push_back(operand.name);
    }
    absl::StrAppendFormat(&text, "| 0x%02x | [`%s`](#%s-0x%02x) | %s |\n",
                          static_cast<uint32_t>(info.opcode), info.name,
                          info.name, static_cast<uint32_t>(info.opcode),
                          absl::StrJoin(names, ", "));
  }
  absl::StrAppend(&text, "\n");
  for (const OpcodeInfo& info : AllOpcodes()) {
    absl::StrAppend(&text, OpcodeMarkdown(info));
  }
  // One newline at the end.
  while (text.size() > 1 && text[text.size() - 2] == '\n') text.pop_back();
  return text;
}

}  // namespace mkvm::isa
