#include "cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "isa/f24.h"

namespace mkvm::cli {
namespace {

using isa::DType;
using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(T));
}

template <typename T>
std::vector<T> ValuesOf(const NpyArray& array) {
  std::vector<T> values(array.data.size() / sizeof(T));
  std::memcpy(values.data(), array.data.data(), array.data.size());
  return values;
}

// A file as numpy.save writes it.
std::string File(const std::string& dict, const std::string& data,
                 char major = 1) {
  std::string text = dict;
  const size_t fixed = major == 1 ? 10 : 12;
  while ((fixed + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string file = "\x93NUMPY";
  file += major;
  file += '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) {
    file += static_cast<char>(text.size() >> (8 * i) & 255);
  }
  return file + text + data;
}

std::string Dict(const std::string& descr, const std::string& shape,
                 const std::string& order = "False") {
  return "{'descr': " + descr + ", 'fortran_order': " + order +
         ", 'shape': " + shape + ", }";
}

std::string ErrorOf(const std::string& bytes) {
  const auto array = ParseNpy(bytes);
  EXPECT_FALSE(array.ok());
  EXPECT_EQ(array.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(array.status().message());
}

TEST(Npy, HeaderIsWhatNumPyWrites) {
  const std::string header = NpyHeader(DType::kF32, {2, 3});
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(header, File(Dict("'<f4'", "(2, 3)"), ""));
  EXPECT_EQ(NpyHeader(DType::kI32, {5}), File(Dict("'<i4'", "(5,)"), ""));
  EXPECT_EQ(NpyHeader(DType::kF24, {5}), File(Dict("'<f4'", "(5,)"), ""));
}

TEST(Npy, FloatRoundTrip) {
  const std::vector<float> values = {1, -2.5, 0, 1e-38f, INFINITY, 7};
  const std::string data = BytesOf(values);
  const auto array = ParseNpy(ToNpy(DType::kF32, {2, 3}, data));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->dtype, DType::kF32);
  EXPECT_THAT(array->shape, ElementsAre(2, 3));
  EXPECT_EQ(ValuesOf<float>(*array), values);
}

TEST(Npy, Bf16IsWidened) {
  const std::string data =
      BytesOf<uint16_t>({isa::Bf16BitsOfFloat(1.5f), 0x8000, 0x7f80});
  const auto array = ParseNpy(ToNpy(DType::kBf16, {3}, data));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(ValuesOf<float>(*array), ElementsAre(1.5f, -0.0f, INFINITY));
}

TEST(Npy, RankedRoundTrip) {
  const std::vector<uint64_t> words = {isa::PackRanked(2.5f, 7, 0),
                                       isa::PackRanked(-1, 0xffffff, 0)};
  const std::string data = BytesOf(words);
  const std::string file = ToNpy(DType::kRanked, {2}, data);
  EXPECT_THAT(file, HasSubstr("[('score', '<f4'), ('index', '<u4')]"));
  const auto array = ParseNpy(file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->dtype, DType::kRanked);
  EXPECT_EQ(ValuesOf<uint64_t>(*array), words);
}

TEST(Npy, Version2) {
  const auto array =
      ParseNpy(File(Dict("'<f4'", "(1,)"), BytesOf<float>({3}), 2));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(ValuesOf<float>(*array), ElementsAre(3));
}

TEST(Npy, DoublesAreRounded) {
  const auto array =
      ParseNpy(File(Dict("'<f8'", "(2,)"), BytesOf<double>({0.1, -3})));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->dtype, DType::kF32);
  EXPECT_THAT(ValuesOf<float>(*array), ElementsAre(0.1f, -3));
}

TEST(Npy, Halves) {
  // One, -2, the largest, the smallest normal and subnormal, infinities.
  const auto array =
      ParseNpy(File(Dict("'<f2'", "(8,)"),
                    BytesOf<uint16_t>({0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001,
                                       0x7c00, 0xfc00, 0x7e00})));
  ASSERT_TRUE(array.ok()) << array.status();
  const std::vector<float> v = ValuesOf<float>(*array);
  EXPECT_THAT(std::vector<float>(v.begin(), v.end() - 1),
              ElementsAre(1, -2, 65504, std::ldexp(1.0f, -14),
                          std::ldexp(1.0f, -24), INFINITY, -INFINITY));
  EXPECT_TRUE(std::isnan(v.back()));
}

TEST(Npy, LongIntegersMustFit) {
  const auto array =
      ParseNpy(File(Dict("'<i8'", "(2,)"), BytesOf<int64_t>({-5, 2147483647})));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->dtype, DType::kI32);
  EXPECT_THAT(ValuesOf<int32_t>(*array), ElementsAre(-5, 2147483647));
  EXPECT_EQ(
      ErrorOf(File(Dict("'<i8'", "(2,)"), BytesOf<int64_t>({0, 2147483648}))),
      "element 1 is 2147483648, which does not fit 32 bits");
}

TEST(Npy, ScalarsAndKeyOrder) {
  const auto array = ParseNpy(
      File("{\"shape\": (), \"descr\": \"<i4\", \"fortran_order\": False}",
           BytesOf<int32_t>({42})));
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(1));
}

TEST(Npy, Errors) {
  const std::string one = BytesOf<float>({1});
  EXPECT_EQ(ErrorOf("hello"),
            "is not a .npy file (no \\x93NUMPY at its start)");
  EXPECT_EQ(ErrorOf(std::string("\x93NUMPY\x03\x00", 8)),
            ".npy version 3 is not supported, only 1 and 2");
  const std::string good = File(Dict("'<f4'", "(1,)"), one);
  EXPECT_EQ(ErrorOf(good.substr(0, 40)), "ends inside the .npy header");
  EXPECT_EQ(ErrorOf(good.substr(0, 7)), "ends inside the .npy header");
  EXPECT_EQ(ErrorOf(good + "x"),
            "holds 5 bytes of elements, but its shape [1] needs 4");
  EXPECT_EQ(ErrorOf(good.substr(0, good.size() - 1)),
            "holds 3 bytes of elements, but its shape [1] needs 4");
  EXPECT_EQ(ErrorOf(File(Dict("'>f4'", "(1,)"), one)),
            "dtype >f4 is not supported; save it as float32 (<f4) or int32 "
            "(<i4)");
  EXPECT_THAT(ErrorOf(File(Dict("'|O'", "(1,)"), one)),
              HasSubstr("dtype |O is not supported"));
  EXPECT_EQ(ErrorOf(File(Dict("'<f4'", "(1, 1)", "True"), one)),
            "is in Fortran order; save numpy.ascontiguousarray(x) instead");
  EXPECT_EQ(ErrorOf(File(Dict("'<f4'", "(4294967296, 4294967296)"), one)),
            "has a shape beyond 2^64 bytes");
  EXPECT_EQ(ErrorOf(File(Dict("'<f4'", "(-1,)"), one)),
            "the .npy header has a malformed shape");
  EXPECT_EQ(ErrorOf(File(Dict("'<f4'", "1"), one)),
            "the .npy header has a malformed shape");
  EXPECT_EQ(ErrorOf(File("{'descr': '<f4'}", one)),
            "the .npy header lacks descr, fortran_order or shape");
  EXPECT_EQ(ErrorOf(File("{'color': 'red'}", one)),
            "the .npy header has an unknown key 'color'");
  EXPECT_EQ(ErrorOf(File(Dict("'<f4'", "(1,)") + " 7", one)),
            "the .npy header goes on after its '}'");
  EXPECT_EQ(ErrorOf(File(Dict("[('score', '<f4'), ('index', '<u4')]", "(1,)"),
                         BytesOf<uint32_t>({0, 1u << 24}))),
            "element 0 has index 16777216, above 16777215");
}

// Any bytes: a status, never a crash; and what parses is consistent.
TEST(Npy, FuzzedFilesNeverCrash) {
  const std::string seeds[] = {
      File(Dict("'<f4'", "(2, 3)"), std::string(24, 'x')),
      File(Dict("'<i8'", "(1,)"), std::string(8, '\0')),
      File(Dict("[('score', '<f4'), ('index', '<u4')]", "(1,)"),
           std::string(8, '\0'), 2)};
  std::mt19937 random(7);
  int parsed = 0;
  for (int i = 0; i < 30000; ++i) {
    std::string file = seeds[i % 3];
    const int edits = static_cast<int>(random() % 4);
    for (int e = 0; e < edits; ++e) {
      const size_t at = random() % file.size();
      switch (random() % 3) {
        case 0:
          file[at] = static_cast<char>(random());
          break;
        case 1:
          file.erase(at, 1 + random() % 5);
          break;
        default:
          file.insert(at, 1, "(){}[],'0129<f"[random() % 14]);
      }
    }
    const auto array = ParseNpy(file);
    if (!array.ok()) continue;
    ++parsed;
    uint64_t bytes = isa::SizeOf(array->dtype);
    for (uint64_t size : array->shape) bytes *= size;
    ASSERT_EQ(bytes, array->data.size());
  }
  EXPECT_GT(parsed, 5000);   // the unedited ones at least
  EXPECT_LT(parsed, 29000);  // and the edits do break files
}

}  // namespace
}  // namespace mkvm::cli
