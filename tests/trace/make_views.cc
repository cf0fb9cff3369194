// Writes the views of a made-up trace of a whole model, for tests that look at
// them with other programs, and for docs/images. Prints how many instructions
// the program has.
//
//   make_views PROGRAM PASSES page.html [perfetto.json]
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "isa/program.h"
#include "tests/trace/synthetic.h"
#include "trace/critical_path.h"
#include "trace/dependencies.h"
#include "trace/html.h"
#include "trace/perfetto.h"

namespace {

bool Write(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  return file.good();
}

int Fail(const absl::Status& status) {
  std::cerr << "make_views: " << status.message() << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: make_views PROGRAM PASSES page.html [perfetto.json]\n";
    return 2;
  }
  auto program = mkvm::isa::ReadProgramFile(argv[1]);
  if (!program.ok()) return Fail(program.status());
  std::cout << mkvm::isa::NumInstructions(*program) << "\n";
  const auto passes = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10));
  const mkvm::trace::Trace trace =
      mkvm::trace::SyntheticTrace(*std::move(program), passes, 256);
  const mkvm::trace::Dependencies dependencies(trace);
  const mkvm::trace::CriticalPath path =
      mkvm::trace::FindCriticalPath(dependencies);
  if (!Write(argv[3], mkvm::trace::ToHtml(dependencies, path))) {
    return Fail(absl::UnknownError(std::string("cannot write ") + argv[3]));
  }
  if (argc > 4 &&
      !Write(argv[4], mkvm::trace::ToPerfetto(dependencies, path))) {
    return Fail(absl::UnknownError(std::string("cannot write ") + argv[4]));
  }
  return 0;
}
