// When something was measured.
#ifndef MKVM_CLI_DATE_H_
#define MKVM_CLI_DATE_H_

#include <string>

namespace mkvm::cli {

// Now, e.g. "2026-11-21T09:30:00Z".
std::string DateUtc();

}  // namespace mkvm::cli

#endif  // MKVM_CLI_DATE_H_
