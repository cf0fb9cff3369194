// A person's lines: edited and remembered on a terminal, taken as they are from
// anything else.
#ifndef MKVM_CLI_LINE_READER_H_
#define MKVM_CLI_LINE_READER_H_

#include <memory>
#include <string>

namespace mkvm::cli {

class LineReader {
 public:
  enum class Result : uint8_t {
    kLine,
    kEnd,        // Ctrl-D, or the input's end
    kCancelled,  // Ctrl-C: what was typed is gone
  };

  virtual ~LineReader() = default;
  // `line`: without its end. A line that ends in a backslash goes on in the
  // next one; the two are joined by a line end.
  Result Read(std::string& line);

  // Edits on the terminal if stdin and stderr are one (stdout is for answers),
  // with `prompt` in front; else reads stdin. `history_file`: loaded now, saved
  // at the end and readable by its owner alone; "": none.
  static std::unique_ptr<LineReader> Create(const std::string& prompt,
                                            const std::string& history_file);

 private:
  // One line; `continues`: it goes on from the one before.
  virtual Result ReadOne(bool continues, std::string& line) = 0;
};

// $XDG_STATE_HOME/mkvm/chat_history, else ~/.local/state/mkvm/chat_history;
// its folder is made. "" where that can't be.
std::string DefaultHistoryFile();

}  // namespace mkvm::cli

#endif  // MKVM_CLI_LINE_READER_H_
