#include "vm/bind.h"

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace mkvm::vm {
namespace {

using isa::DType;

bool IsFloat(DType dtype) {
  return dtype == DType::kF24 || dtype == DType::kBf16 || dtype == DType::kF32;
}

std::string Describe(DType dtype, const std::vector<uint64_t>& shape) {
  return absl::StrCat(isa::Name(dtype), " [", absl::StrJoin(shape, ", "), "]");
}

// `data` may have any alignment (a tensor in a mapped file), hence memcpy.
template <typename T>
T Load(const char* data, uint64_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void Store(char* out, uint64_t i, T value) {
  std::memcpy(out + i * sizeof(T), &value, sizeof(T));
}

// Calls fn(i, value) for every element, value a binary32.
template <typename Fn>
void ForEachFloat(const HostTensor& tensor, uint64_t begin, uint64_t count,
                  Fn fn) {
  const char* data = static_cast<const char*>(tensor.data);
  if (tensor.dtype == DType::kBf16) {
    data += begin * sizeof(uint16_t);
    for (uint64_t i = 0; i < count; ++i) {
      fn(i, isa::FloatOfBf16Bits(Load<uint16_t>(data, i)));
    }
  } else {
    data += begin * sizeof(float);
    for (uint64_t i = 0; i < count; ++i) fn(i, Load<float>(data, i));
  }
}

}  // namespace

absl::StatusOr<uint32_t> FindBindable(const isa::Program& program,
                                      absl::string_view buffer,
                                      const HostTensor& tensor) {
  const uint32_t id = isa::FindBuffer(program, buffer);
  if (id == isa::kNoBuffer) {
    return absl::NotFoundError(
        absl::StrFormat("the program has no buffer %s", buffer));
  }
  const isa::Buffer& to = program.buffers[id];
  if (to.kind == isa::BufferKind::kActivation) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "buffer %s is an activation: the program computes it, it can't be "
        "bound",
        buffer));
  }
  const bool convertible = IsFloat(tensor.dtype) && IsFloat(to.dtype);
  if ((tensor.dtype != to.dtype && !convertible) || tensor.shape != to.shape) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "buffer %s is %s, the tensor given is %s", buffer,
        Describe(to.dtype, to.shape), Describe(tensor.dtype, tensor.shape)));
  }
  if (tensor.data == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the tensor given for buffer %s has no data", buffer));
  }
  return id;
}

void ConvertElements(const HostTensor& tensor, DType to, uint64_t begin,
                     uint64_t count, void* out) {
  char* const bytes = static_cast<char*>(out);
  if (to == DType::kRanked) {
    // The tag byte belongs to the machine.
    const char* data = static_cast<const char*>(tensor.data) + begin * 8;
    for (uint64_t i = 0; i < count; ++i) {
      Store<uint64_t>(bytes, i,
                      Load<uint64_t>(data, i) & ~(uint64_t{0xff} << 32));
    }
  } else if (to == DType::kF24) {
    ForEachFloat(tensor, begin, count, [bytes](uint64_t i, float value) {
      Store(bytes, i, isa::F24BitsOfFloat(value));
    });
  } else if (to == tensor.dtype) {
    const uint64_t size = isa::SizeOf(to);
    std::memcpy(bytes, static_cast<const char*>(tensor.data) + begin * size,
                count * size);
  } else if (to == DType::kBf16) {
    ForEachFloat(tensor, begin, count, [bytes](uint64_t i, float value) {
      Store(bytes, i, isa::Bf16BitsOfFloat(value));
    });
  } else {
    ForEachFloat(tensor, begin, count,
                 [bytes](uint64_t i, float value) { Store(bytes, i, value); });
  }
}

}  // namespace mkvm::vm
