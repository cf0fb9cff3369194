#include "model/safetensors.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "model/json.h"

namespace mkvm::model {
namespace {

constexpr uint64_t kLengthBytes = 8;
// The limit of the format's own library.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
// What to do about a file that is not what its header says.
constexpr char kMend[] = "the file is damaged or incomplete: download it again";

struct DType {
  absl::string_view name;
  uint64_t bytes;
};
constexpr DType kDTypes[] = {
    {"BF16", 2},    {"F32", 4},     {"F16", 2}, {"F64", 8}, {"F8_E4M3", 1},
    {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I8", 1},  {"U8", 1},  {"BOOL", 1},
    {"I16", 2},     {"U16", 2},     {"I32", 4}, {"U32", 4}, {"I64", 8},
    {"U64", 8},     {"C64", 8},
};

// 0 where unknown.
uint64_t ElementBytes(absl::string_view dtype) {
  for (const DType& known : kDTypes) {
    if (known.name == dtype) return known.bytes;
  }
  return 0;
}

absl::Status FileError(const std::string& path, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", problem, "; ", kMend));
}

absl::Status TensorError(const std::string& path, absl::string_view name,
                         absl::string_view problem) {
  // A name is whatever the file says: keep it off the terminal's controls.
  return FileError(path, absl::StrFormat("tensor \"%s\": %s",
                                         absl::CHexEscape(name), problem));
}

uint64_t ReadLength(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

bool IsListOfCounts(const Json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const Json& item) {
           return item.is_number_unsigned();
         });
}

// The header's entry for one tensor; `data` is the file's data.
absl::StatusOr<StoredTensor> ParseTensor(const std::string& path,
                                         const std::string& name,
                                         const Json& entry,
                                         absl::Span<const uint8_t> data) {
  if (!entry.is_object()) {
    return TensorError(
        path, name,
        absl::StrCat("its entry is ", Brief(entry), ", not an object"));
  }
  for (const auto& [key, value] : entry.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return TensorError(
          path, name,
          absl::StrFormat("unknown key \"%s\"", absl::CHexEscape(key)));
    }
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(key)) {
      return TensorError(path, name, absl::StrFormat("\"%s\" is missing", key));
    }
  }
  const Json& dtype = entry["dtype"];
  const uint64_t element_bytes =
      dtype.is_string() ? ElementBytes(dtype.get_ref<const std::string&>()) : 0;
  if (element_bytes == 0) {
    return TensorError(path, name,
                       absl::StrCat("unknown dtype ", Brief(dtype)));
  }
  const Json& shape = entry["shape"];
  if (!IsListOfCounts(shape)) {
    return TensorError(
        path, name,
        absl::StrCat("its shape is ", Brief(shape), ", not a list of sizes"));
  }
  const Json& offsets = entry["data_offsets"];
  if (!IsListOfCounts(offsets) || offsets.size() != 2) {
    return TensorError(path, name,
                       absl::StrCat("its data_offsets are ", Brief(offsets),
                                    ", not [begin, end]"));
  }
  StoredTensor tensor;
  tensor.name = name;
  tensor.dtype = dtype.get<std::string>();
  tensor.shape = shape.get<std::vector<uint64_t>>();
  const uint64_t begin = offsets[0].get<uint64_t>();
  const uint64_t end = offsets[1].get<uint64_t>();
  if (begin > end || end > data.size()) {
    return TensorError(
        path, name,
        absl::StrFormat("its data_offsets [%d, %d] lie outside the file's %d "
                        "bytes of data",
                        begin, end, data.size()));
  }
  tensor.data = data.data() + begin;
  tensor.size_bytes = end - begin;
  // The offsets lie within the file, so any product that overflows is wrong.
  uint64_t expected = element_bytes;
  bool overflow = false;
  for (const uint64_t size : tensor.shape) {
    overflow |= __builtin_mul_overflow(expected, size, &expected);
  }
  if (overflow || expected != tensor.size_bytes) {
    return TensorError(
        path, name,
        absl::StrFormat("its data_offsets hold %d bytes, but %s [%s] is %s",
                        tensor.size_bytes, tensor.dtype,
                        absl::StrJoin(tensor.shape, ", "),
                        overflow ? "more than 2^64" : absl::StrCat(expected)));
  }
  return tensor;
}

// The tensors, in the order of their data, must cover all of it.
absl::Status CheckCoverage(const std::string& path,
                           absl::Span<const StoredTensor> tensors,
                           absl::Span<const uint8_t> data) {
  const uint8_t* at = data.data();
  const StoredTensor* last = nullptr;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.data < at) {
      return TensorError(path, tensor.name,
                         absl::StrFormat("its data overlaps that of \"%s\"",
                                         absl::CHexEscape(last->name)));
    }
    if (tensor.data > at) {
      return TensorError(
          path, tensor.name,
          absl::StrFormat("%d bytes before its data belong to no tensor",
                          tensor.data - at));
    }
    at += tensor.size_bytes;
    last = &tensor;
  }
  const uint64_t rest = static_cast<uint64_t>(data.data() + data.size() - at);
  if (rest != 0) {
    return FileError(
        path, absl::StrFormat("%d bytes at the end belong to no tensor", rest));
  }
  return absl::OkStatus();
}

absl::Status CheckMetadata(const std::string& path, const Json& metadata) {
  const bool strings =
      metadata.is_object() &&
      std::all_of(metadata.begin(), metadata.end(),
                  [](const Json& value) { return value.is_string(); });
  if (strings) return absl::OkStatus();
  return FileError(path, absl::StrCat("\"__metadata__\" is ", Brief(metadata),
                                      ", not an object of strings"));
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  absl::StatusOr<MappedFile> mapped = MappedFile::Open(path);
  if (!mapped.ok()) return mapped.status();
  SafetensorsFile file;
  file.path_ = path;
  file.file_ = *std::move(mapped);
  if (absl::Status s = file.ParseHeader(); !s.ok()) return s;
  return file;
}

absl::Status SafetensorsFile::ParseHeader() {
  const uint64_t size = file_.size_bytes();
  if (size < kLengthBytes) {
    return FileError(path_, absl::StrFormat("%d bytes are too few for a "
                                            "safetensors file",
                                            size));
  }
  const uint64_t length = ReadLength(file_.data());
  if (length > size - kLengthBytes || length > kMaxHeaderBytes) {
    // A pointer file left by git without git-lfs starts with text.
    const absl::string_view start(reinterpret_cast<const char*>(file_.data()),
                                  kLengthBytes);
    if (start == "version ") {
      return absl::InvalidArgumentError(absl::StrCat(
          path_, ": a Git LFS pointer, not the weights; run \"git lfs pull\""));
    }
    return FileError(path_,
                     absl::StrFormat("its first 8 bytes announce a header of "
                                     "%d bytes, the file has %d",
                                     length, size));
  }
  const char* header = reinterpret_cast<const char*>(file_.data());
  const absl::StatusOr<Json> json =
      ParseJson(absl::string_view(header + kLengthBytes, length),
                absl::StrCat(path_, ": header"));
  if (!json.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(json.status().message(), "; ", kMend));
  }
  if (!json->is_object()) {
    return FileError(
        path_, absl::StrCat("its header is ", Brief(*json), ", not an object"));
  }
  const absl::Span<const uint8_t> data(file_.data() + kLengthBytes + length,
                                       size - kLengthBytes - length);
  for (const auto& [name, entry] : json->items()) {
    if (name == "__metadata__") {
      if (absl::Status s = CheckMetadata(path_, entry); !s.ok()) return s;
      continue;
    }
    absl::StatusOr<StoredTensor> tensor = ParseTensor(path_, name, entry, data);
    if (!tensor.ok()) return tensor.status();
    tensors_.push_back(*std::move(tensor));
  }
  // Empty tensors may share their place with the one that follows.
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) {
              return std::pair(a.data, a.size_bytes) <
                     std::pair(b.data, b.size_bytes);
            });
  for (size_t i = 0; i < tensors_.size(); ++i) index_[tensors_[i].name] = i;
  return CheckCoverage(path_, tensors_, data);
}

const StoredTensor* SafetensorsFile::Find(absl::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace mkvm::model
