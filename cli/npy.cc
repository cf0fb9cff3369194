#include "cli/npy.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "cli/io.h"
#include "isa/f24.h"

namespace mkvm::cli {
namespace {

using isa::DType;

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr absl::string_view kRankedDescr =
    "[('score', '<f4'), ('index', '<u4')]";
constexpr int kMaxDimensions = 32;  // NumPy's own limit

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<uint64_t>> shape;
};

// A reader of the dict's few forms; never more than one pass over the text.
class HeaderParser {
 public:
  explicit HeaderParser(absl::string_view text) : text_(text) {}

  absl::StatusOr<Header> Parse() {
    Header header;
    if (!Take("{")) return Bad("does not start with '{'");
    while (!Take("}")) {
      std::string key;
      if (!TakeString(key) || !Take(":")) return Bad("has a malformed key");
      if (key == "descr") {
        header.descr = TakeDescr();
        if (!header.descr) return Bad("has a malformed descr");
      } else if (key == "fortran_order") {
        const bool is_true = Take("True");
        if (!is_true && !Take("False")) {
          return Bad("has a fortran_order that is neither True nor False");
        }
        header.fortran_order = is_true;
      } else if (key == "shape") {
        header.shape = TakeShape();
        if (!header.shape) return Bad("has a malformed shape");
      } else {
        return Bad(absl::StrCat("has an unknown key '", key, "'"));
      }
      if (!Take(",")) {
        if (!Take("}")) return Bad("is not closed by '}'");
        break;
      }
    }
    if (!absl::StripAsciiWhitespace(text_).empty()) {
      return Bad("goes on after its '}'");
    }
    if (!header.descr || !header.fortran_order || !header.shape) {
      return Bad("lacks descr, fortran_order or shape");
    }
    return header;
  }

 private:
  static absl::Status Bad(absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("the .npy header ", what));
  }
  bool Take(absl::string_view token) {
    text_ = absl::StripLeadingAsciiWhitespace(text_);
    return absl::ConsumePrefix(&text_, token);
  }
  bool TakeString(std::string& out) {
    text_ = absl::StripLeadingAsciiWhitespace(text_);
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) return false;
    const size_t end = text_.find(text_[0], 1);
    if (end == absl::string_view::npos) return false;
    out = std::string(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return true;
  }
  // A string, or a record type up to its ']' as written.
  std::optional<std::string> TakeDescr() {
    std::string out;
    if (TakeString(out)) return out;
    if (text_.empty() || text_[0] != '[') return std::nullopt;
    const size_t end = text_.find(']');
    if (end == absl::string_view::npos) return std::nullopt;
    out = std::string(text_.substr(0, end + 1));
    text_.remove_prefix(end + 1);
    return out;
  }
  std::optional<std::vector<uint64_t>> TakeShape() {
    std::vector<uint64_t> shape;
    if (!Take("(")) return std::nullopt;
    while (!Take(")")) {
      text_ = absl::StripLeadingAsciiWhitespace(text_);
      size_t digits = 0;
      while (digits < text_.size() && absl::ascii_isdigit(text_[digits])) {
        ++digits;
      }
      uint64_t size;
      if (!absl::SimpleAtoi(text_.substr(0, digits), &size) ||
          shape.size() == kMaxDimensions) {
        return std::nullopt;
      }
      shape.push_back(size);
      text_.remove_prefix(digits);
      if (!Take(",")) {
        if (!Take(")")) return std::nullopt;
        break;
      }
    }
    return shape;
  }

  absl::string_view text_;
};

float FloatOfHalf(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  float value;
  if (exponent == 31) {
    value = mantissa == 0 ? std::numeric_limits<float>::infinity()
                          : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    value = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return half >> 15 ? -value : value;
}

template <typename From, typename To, typename Convert>
std::vector<char> ConvertAll(absl::string_view bytes, Convert convert) {
  const size_t count = bytes.size() / sizeof(From);
  std::vector<char> out(count * sizeof(To));
  for (size_t i = 0; i < count; ++i) {
    From from;
    std::memcpy(&from, bytes.data() + i * sizeof(From), sizeof(From));
    const To to = convert(from);
    std::memcpy(out.data() + i * sizeof(To), &to, sizeof(To));
  }
  return out;
}

struct Record {
  float score;
  uint32_t index;
};

absl::Status CheckIntegersFit(absl::string_view bytes) {
  for (size_t i = 0; i * sizeof(int64_t) < bytes.size(); ++i) {
    int64_t value;
    std::memcpy(&value, bytes.data() + i * sizeof(value), sizeof(value));
    if (value != static_cast<int32_t>(value)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "element %d is %d, which does not fit 32 bits", i, value));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckIndicesFit(absl::string_view bytes) {
  for (size_t i = 0; i * sizeof(Record) < bytes.size(); ++i) {
    Record record;
    std::memcpy(&record, bytes.data() + i * sizeof(record), sizeof(record));
    if (record.index > isa::kMaxRankedIndex) {
      return absl::InvalidArgumentError(
          absl::StrFormat("element %d has index %u, above %u", i, record.index,
                          isa::kMaxRankedIndex));
    }
  }
  return absl::OkStatus();
}

// Bytes of one element in the file; 0 if the descr is not supported.
size_t FileElementBytes(absl::string_view descr) {
  if (descr == "<f4" || descr == "<i4") return 4;
  if (descr == "<f8" || descr == "<i8" || descr == kRankedDescr) return 8;
  return descr == "<f2" ? 2 : 0;
}

// REQUIRES: FileElementBytes(descr) != 0 and divides bytes.size().
absl::Status ConvertData(absl::string_view descr, absl::string_view bytes,
                         NpyArray& array) {
  array.dtype = DType::kF32;
  if (descr == "<f8") {
    array.data = ConvertAll<double, float>(
        bytes, [](double v) { return static_cast<float>(v); });
  } else if (descr == "<f2") {
    array.data = ConvertAll<uint16_t, float>(bytes, FloatOfHalf);
  } else if (descr == "<i8") {
    array.dtype = DType::kI32;
    if (absl::Status s = CheckIntegersFit(bytes); !s.ok()) return s;
    array.data = ConvertAll<int64_t, int32_t>(
        bytes, [](int64_t v) { return static_cast<int32_t>(v); });
  } else if (descr == kRankedDescr) {
    array.dtype = DType::kRanked;
    if (absl::Status s = CheckIndicesFit(bytes); !s.ok()) return s;
    array.data = ConvertAll<Record, uint64_t>(
        bytes, [](Record r) { return isa::PackRanked(r.score, r.index, 0); });
  } else {
    if (descr == "<i4") array.dtype = DType::kI32;
    array.data.assign(bytes.begin(), bytes.end());
  }
  return absl::OkStatus();
}

// Splits `bytes` into the header's text and the elements.
absl::Status SplitFile(absl::string_view bytes, absl::string_view& header,
                       absl::string_view& data) {
  if (!absl::ConsumePrefix(&bytes, kMagic)) {
    return absl::InvalidArgumentError(
        "is not a .npy file (no \\x93NUMPY at its start)");
  }
  if (bytes.size() < 2) {
    return absl::InvalidArgumentError("ends inside the .npy header");
  }
  const int major = static_cast<uint8_t>(bytes[0]);
  if (major != 1 && major != 2) {
    return absl::InvalidArgumentError(absl::StrFormat(
        ".npy version %d is not supported, only 1 and 2", major));
  }
  const size_t length_bytes = major == 1 ? 2 : 4;
  bytes.remove_prefix(2);
  uint32_t length = 0;
  for (size_t i = 0; i < length_bytes && i < bytes.size(); ++i) {
    length |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  if (bytes.size() < length_bytes || bytes.size() - length_bytes < length) {
    return absl::InvalidArgumentError("ends inside the .npy header");
  }
  header = bytes.substr(length_bytes, length);
  data = bytes.substr(length_bytes + length);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes) {
  absl::string_view text;
  absl::string_view data;
  if (absl::Status s = SplitFile(bytes, text, data); !s.ok()) return s;
  absl::StatusOr<Header> header = HeaderParser(text).Parse();
  if (!header.ok()) return header.status();
  const size_t element_bytes = FileElementBytes(*header->descr);
  if (element_bytes == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dtype ", *header->descr,
        " is not supported; save it as float32 (<f4) or int32 (<i4)"));
  }
  if (*header->fortran_order) {
    return absl::InvalidArgumentError(
        "is in Fortran order; save numpy.ascontiguousarray(x) instead");
  }
  NpyArray array;
  array.shape = *std::move(header->shape);
  if (array.shape.empty()) array.shape = {1};
  uint64_t wanted = element_bytes;
  for (uint64_t size : array.shape) {
    if (__builtin_mul_overflow(wanted, size, &wanted)) {
      return absl::InvalidArgumentError("has a shape beyond 2^64 bytes");
    }
  }
  if (wanted != data.size()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "holds %u bytes of elements, but its shape [%s] needs %u", data.size(),
        absl::StrJoin(array.shape, ", "), wanted));
  }
  if (absl::Status s = ConvertData(*header->descr, data, array); !s.ok()) {
    return s;
  }
  return array;
}

absl::StatusOr<NpyArray> ReadNpyFile(absl::string_view path) {
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<NpyArray> array = ParseNpy(*bytes);
  if (!array.ok()) {
    return absl::Status(array.status().code(),
                        absl::StrCat(path, ": ", array.status().message()));
  }
  return array;
}

std::string NpyHeader(DType dtype, absl::Span<const uint64_t> shape) {
  std::string descr = "'<f4'";
  if (dtype == DType::kI32) descr = "'<i4'";
  if (dtype == DType::kRanked) descr = std::string(kRankedDescr);
  std::string text = absl::StrFormat(
      "{'descr': %s, 'fortran_order': False, 'shape': (%s%s), }", descr,
      absl::StrJoin(shape, ", "), shape.size() == 1 ? "," : "");
  constexpr size_t kAlignment = 64;
  const size_t fixed = kMagic.size() + 4;
  while ((fixed + text.size() + 1) % kAlignment != 0) text += ' ';
  text += '\n';
  std::string header(kMagic);
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(text.size() & 255);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

std::string ToNpy(DType dtype, absl::Span<const uint64_t> shape,
                  absl::Span<const char> data) {
  const absl::string_view bytes(data.data(), data.size());
  if (dtype == DType::kBf16) {
    const std::vector<char> wide =
        ConvertAll<uint16_t, float>(bytes, isa::FloatOfBf16Bits);
    return absl::StrCat(NpyHeader(DType::kF32, shape),
                        absl::string_view(wide.data(), wide.size()));
  }
  if (dtype == DType::kRanked) {
    const std::vector<char> records =
        ConvertAll<uint64_t, Record>(bytes, [](uint64_t word) {
          return Record{isa::ScoreOfRanked(word), isa::IndexOfRanked(word)};
        });
    return absl::StrCat(NpyHeader(dtype, shape),
                        absl::string_view(records.data(), records.size()));
  }
  return absl::StrCat(NpyHeader(dtype, shape), bytes);
}

}  // namespace mkvm::cli
