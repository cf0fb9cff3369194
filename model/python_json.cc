#include "model/python_json.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {
namespace {

void AppendString(absl::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      case '\f':
        *out += "\\f";
        break;
      case '\b':
        *out += "\\b";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          absl::StrAppendFormat(out, "\\u%04x", c);
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

// Recursion is bounded: the parser refuses deep nesting.
void Append(const OrderedJson& value, std::string* out) {
  absl::string_view separator;
  if (value.is_object()) {
    *out += '{';
    for (const auto& [key, member] : value.items()) {
      absl::StrAppend(out, separator);
      AppendString(key, out);
      *out += ": ";
      Append(member, out);
      separator = ", ";
    }
    *out += '}';
  } else if (value.is_array()) {
    *out += '[';
    for (const OrderedJson& element : value) {
      absl::StrAppend(out, separator);
      Append(element, out);
      separator = ", ";
    }
    *out += ']';
  } else if (value.is_string()) {
    AppendString(value.get_ref<const std::string&>(), out);
  } else if (value.is_binary()) {
    const auto& digits = value.get_binary();
    out->append(digits.begin(), digits.end());
  } else if (value.is_number_float()) {
    *out += PythonRepr(value.get<double>());
  } else {
    *out += value.dump();  // null, true, false, an integer
  }
}

}  // namespace

std::string PythonRepr(double value) {
  // The shortest digits that give the same double back: "-d.ddde-XX".
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                    std::chars_format::scientific);
  absl::string_view text(buffer, result.ptr - buffer);
  const size_t e = text.find('e');
  // Python writes small and large numbers so, too, with as many digits.
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(text);
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string fixed = std::signbit(value) ? "-" : "";
  if (exponent < 0) {
    absl::StrAppend(&fixed, "0.", std::string(-exponent - 1, '0'), digits);
    return fixed;
  }
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  absl::StrAppend(&fixed, digits.substr(0, whole), ".",
                  digits.size() > whole ? digits.substr(whole) : "0");
  return fixed;
}

std::string DumpAsPython(const OrderedJson& value) {
  std::string text;
  Append(value, &text);
  return text;
}

}  // namespace mkvm::model
