#include "model/safetensors.h"

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kMend[] =
    "; the file is damaged or incomplete: download it again";

class SafetensorsTest : public testing::Test {
 protected:
  absl::StatusOr<SafetensorsFile> Open(const std::string& bytes) {
    WriteAll(path_, bytes);
    return SafetensorsFile::Open(path_);
  }
  // A file of that header and so many bytes of data.
  absl::StatusOr<SafetensorsFile> OpenHeader(const std::string& header,
                                             size_t data_bytes) {
    return Open(FileOf(header, std::string(data_bytes, 'd')));
  }
  void ExpectError(const absl::StatusOr<SafetensorsFile>& file,
                   const std::string& problem) {
    EXPECT_ERROR(file, kInvalidArgument,
                 absl::StrCat(path_, ": ", problem, kMend));
  }

  TempFolder folder_;
  std::string path_ = folder_ / "x.safetensors";
};

TEST_F(SafetensorsTest, ReadsTensors) {
  for (const size_t pad : {0, 1, 2, 7}) {
    const auto file = Open(FileOf({{"b", "BF16", {2, 3}, "abcdefghijkl"},
                                   {"a", "F32", {1}, "mnop"},
                                   {"scalar", "I64", {}, "01234567"}},
                                  pad));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->path(), path_);
    ASSERT_EQ(file->tensors().size(), 3u);
    EXPECT_EQ(file->tensors()[0].name, "b");
    const StoredTensor* b = file->Find("b");
    ASSERT_NE(b, nullptr);
    EXPECT_EQ(b->dtype, "BF16");
    EXPECT_THAT(b->shape, ElementsAre(2, 3));
    EXPECT_EQ(std::string(b->data, b->data + b->size_bytes), "abcdefghijkl");
    const StoredTensor* a = file->Find("a");
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(std::string(a->data, a->data + a->size_bytes), "mnop");
    EXPECT_THAT(file->Find("scalar")->shape, IsEmpty());
    EXPECT_EQ(file->Find("c"), nullptr);
  }
}

TEST_F(SafetensorsTest, OrderInTheHeaderDoesNotMatter) {
  const auto file =
      OpenHeader(R"({"z":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                 R"("a":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})",
                 5);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors()[0].name, "z");
  EXPECT_EQ(file->tensors()[1].name, "a");
}

TEST_F(SafetensorsTest, EmptyTensorsAndNone) {
  EXPECT_TRUE(OpenHeader("{}", 0).ok());
  const auto file =
      OpenHeader(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                 R"("e":{"dtype":"F32","shape":[0,7],"data_offsets":[2,2]},)"
                 R"("z":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                 3);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->Find("e")->size_bytes, 0u);
}

TEST_F(SafetensorsTest, MovesKeepTheData) {
  auto file = Open(FileOf({{"a", "U8", {3}, "xyz"}}));
  ASSERT_TRUE(file.ok());
  SafetensorsFile moved = *std::move(file);
  SafetensorsFile assigned = std::move(moved);
  const StoredTensor* a = assigned.Find("a");
  EXPECT_EQ(std::string(a->data, a->data + 3), "xyz");
}

TEST_F(SafetensorsTest, NoFile) {
  EXPECT_ERROR(
      SafetensorsFile::Open(folder_ / "none"), kNotFound,
      "can't open " + folder_.path() + "/none: No such file or directory");
  EXPECT_ERROR(SafetensorsFile::Open(folder_.path()), kInvalidArgument,
               folder_.path() + " is not a regular file");
}

TEST_F(SafetensorsTest, LengthField) {
  ExpectError(Open(""), "0 bytes are too few for a safetensors file");
  ExpectError(Open("1234567"), "7 bytes are too few for a safetensors file");
  ExpectError(Open(LittleEndian64(0)),
              "header: byte 1: the text ends in the middle");
  ExpectError(Open(LittleEndian64(3) + "{}"),
              "its first 8 bytes announce a header of 3 bytes, the file has "
              "10");
  ExpectError(Open(LittleEndian64(UINT64_MAX) + "{}"),
              "its first 8 bytes announce a header of 18446744073709551615 "
              "bytes, the file has 10");
  // One byte short cuts the JSON, one byte long eats data.
  ExpectError(Open(LittleEndian64(1) + "{}"),
              "header: byte 2: the text ends in the middle");
  ExpectError(Open(LittleEndian64(3) + "{}\x01"),
              "header: byte 3: not JSON near \"{}?\"");
}

TEST_F(SafetensorsTest, HeaderAboveTheFormatsLimit) {
  WriteAll(path_, LittleEndian64(100'000'001) + "{}");
  std::filesystem::resize_file(path_, 100'000'100);  // a hole, no disk
  ExpectError(SafetensorsFile::Open(path_),
              "its first 8 bytes announce a header of 100000001 bytes, the "
              "file has 100000100");
}

TEST_F(SafetensorsTest, GitLfsPointer) {
  EXPECT_ERROR(
      Open("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
      kInvalidArgument,
      path_ + ": a Git LFS pointer, not the weights; run \"git lfs pull\"");
}

TEST_F(SafetensorsTest, HeaderJson) {
  ExpectError(OpenHeader("{\"a\": nil}", 0),
              "header: byte 8: not JSON near \"{\"a\": ni\"");
  ExpectError(OpenHeader("[1]", 0), "its header is [1], not an object");
  ExpectError(OpenHeader(R"({"a":{},"a":{}})", 0),
              "header: the key \"a\" occurs twice");
  ExpectError(OpenHeader(std::string("{}\0 ", 4), 0),
              "header: byte 3: a NUL byte in JSON");
  ExpectError(OpenHeader(R"({"__metadata__":{"format":1}})", 0),
              "\"__metadata__\" is {\"format\":1}, not an object of strings");
  ExpectError(OpenHeader(R"({"__metadata__":[]})", 0),
              "\"__metadata__\" is [], not an object of strings");
}

TEST_F(SafetensorsTest, Entry) {
  const auto entry = [&](const std::string& text) {
    return OpenHeader(absl::StrCat("{\"t\":", text, "}"), 4);
  };
  ExpectError(entry("7"), "tensor \"t\": its entry is 7, not an object");
  ExpectError(entry(R"({"shape":[4],"data_offsets":[0,4]})"),
              "tensor \"t\": \"dtype\" is missing");
  ExpectError(entry(R"({"dtype":"U8","data_offsets":[0,4]})"),
              "tensor \"t\": \"shape\" is missing");
  ExpectError(entry(R"({"dtype":"U8","shape":[4]})"),
              "tensor \"t\": \"data_offsets\" is missing");
  ExpectError(entry(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1})"),
              "tensor \"t\": unknown key \"x\"");
  ExpectError(entry(R"({"dtype":"BF17","shape":[2],"data_offsets":[0,4]})"),
              "tensor \"t\": unknown dtype \"BF17\"");
  ExpectError(entry(R"({"dtype":2,"shape":[2],"data_offsets":[0,4]})"),
              "tensor \"t\": unknown dtype 2");
  for (const char* shape : {"4", "[-4]", "[4.0]", "[\"4\"]", "null"}) {
    ExpectError(entry(absl::StrCat(R"({"dtype":"U8","shape":)", shape,
                                   R"(,"data_offsets":[0,4]})")),
                absl::StrCat("tensor \"t\": its shape is ", shape,
                             ", not a list of sizes"));
  }
  for (const char* offsets : {"[0]", "[0,4,4]", "[-1,4]", "[0,4.0]", "4"}) {
    ExpectError(entry(absl::StrCat(R"({"dtype":"U8","shape":[4],)",
                                   R"("data_offsets":)", offsets, "}")),
                absl::StrCat("tensor \"t\": its data_offsets are ", offsets,
                             ", not [begin, end]"));
  }
}

TEST_F(SafetensorsTest, SizeAgainstShape) {
  const auto entry = [&](const std::string& dtype, const std::string& shape) {
    return OpenHeader(absl::StrCat(R"({"t":{"dtype":")", dtype, R"(","shape":)",
                                   shape, R"(,"data_offsets":[0,4]}})"),
                      4);
  };
  EXPECT_TRUE(entry("BF16", "[2]").ok());
  ExpectError(entry("BF16", "[3]"),
              "tensor \"t\": its data_offsets hold 4 bytes, but BF16 [3] is 6");
  ExpectError(entry("F32", "[2]"),
              "tensor \"t\": its data_offsets hold 4 bytes, but F32 [2] is 8");
  ExpectError(entry("BF16", "[0]"),
              "tensor \"t\": its data_offsets hold 4 bytes, but BF16 [0] is 0");
  // 2 * 2^32 * (2^31 + ...) wraps around to 4 in 64 bits.
  ExpectError(entry("BF16", "[2, 9223372036854775809]"),
              "tensor \"t\": its data_offsets hold 4 bytes, but BF16 [2, "
              "9223372036854775809] is more than 2^64");
}

TEST_F(SafetensorsTest, Offsets) {
  const auto two = [&](const char* a, const char* b, size_t bytes) {
    return OpenHeader(
        absl::StrCat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", a,
                     R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", b,
                     "}}"),
        bytes);
  };
  EXPECT_TRUE(two("[0,4]", "[4,8]", 8).ok());
  EXPECT_TRUE(two("[4,8]", "[0,4]", 8).ok());
  ExpectError(two("[0,4]", "[4,8]", 7),
              "tensor \"b\": its data_offsets [4, 8] lie outside the file's 7 "
              "bytes of data");
  ExpectError(two("[0,4]", "[8,4]", 8),
              "tensor \"b\": its data_offsets [8, 4] lie outside the file's 8 "
              "bytes of data");
  ExpectError(two("[0,4]", "[18446744073709551612,18446744073709551615]", 8),
              "tensor \"b\": its data_offsets [18446744073709551612, "
              "18446744073709551615] lie outside the file's 8 bytes of data");
  ExpectError(two("[0,4]", "[3,7]", 7),
              "tensor \"b\": its data overlaps that of \"a\"");
  ExpectError(two("[0,4]", "[0,4]", 4),
              "tensor \"b\": its data overlaps that of \"a\"");
  ExpectError(two("[0,4]", "[5,9]", 9),
              "tensor \"b\": 1 bytes before its data belong to no tensor");
  ExpectError(two("[1,5]", "[5,9]", 9),
              "tensor \"a\": 1 bytes before its data belong to no tensor");
  ExpectError(two("[0,4]", "[4,8]", 10),
              "2 bytes at the end belong to no tensor");
}

TEST_F(SafetensorsTest, NamesAreEscapedInMessages) {
  ExpectError(OpenHeader(R"({"\u001b[31m":{"dtype":"U8","shape":[4]}})", 4),
              "tensor \"\\x1b[31m\": \"data_offsets\" is missing");
}

}  // namespace
}  // namespace mkvm::model
