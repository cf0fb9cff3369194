#include "cli/line_reader.h"

#include <histedit.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace mkvm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kHistorySize = 1000;
constexpr char kContinuation[] = "... ";

class PlainReader : public LineReader {
 private:
  Result ReadOne(bool /*continues*/, std::string& line) override {
    if (!std::getline(std::cin, line)) return Result::kEnd;
    line = std::string(absl::StripSuffix(line, "\r"));
    return Result::kLine;
  }
};

// libedit's. One at a time: the library's callbacks find it by the handle.
class EditingReader : public LineReader {
 public:
  EditingReader(const std::string& prompt, const std::string& history_file)
      : prompt_(prompt), history_file_(history_file) {
    // Characters beyond ASCII are edited as such.
    if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
      std::setlocale(LC_CTYPE, "C.UTF-8");
    }
    edit_ = el_init("mkvm", stdin, stderr, stderr);
    history_ = history_init();
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistorySize);
    history(history_, &event, H_SETUNIQUE, 1);
    if (!history_file_.empty()) {
      history(history_, &event, H_LOAD, history_file_.c_str());
    }
    el_set(edit_, EL_CLIENTDATA, this);
    el_set(edit_, EL_PROMPT, &EditingReader::Prompt);
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_SIGNAL, 1);
    el_set(edit_, EL_HIST, history, history_);
    el_source(edit_, nullptr);  // the person's own ~/.editrc
    // Ctrl-C and Ctrl-Z are keys here and no signals: one clears the line, the
    // other stops the process all the same.
    el_set(edit_, EL_SETTY, "-d", "-isig", nullptr);
    // By el_wset: el_set would leak its copies of these texts.
    el_wset(edit_, EL_ADDFN, L"mkvm-cancel", L"Clear the line",
            &EditingReader::Cancel);
    el_wset(edit_, EL_ADDFN, L"mkvm-suspend", L"Stop the process",
            &EditingReader::Suspend);
    el_set(edit_, EL_BIND, "^C", "mkvm-cancel", nullptr);
    el_set(edit_, EL_BIND, "^Z", "mkvm-suspend", nullptr);
  }

  ~EditingReader() override {
    HistEvent event;
    if (!history_file_.empty()) {
      history(history_, &event, H_SAVE, history_file_.c_str());
    }
    history_end(history_);
    el_end(edit_);
  }

  EditingReader(const EditingReader&) = delete;
  EditingReader& operator=(const EditingReader&) = delete;

 private:
  Result ReadOne(bool continues, std::string& line) override {
    continues_ = continues;
    cancelled_ = false;
    int size = 0;
    const char* text = el_gets(edit_, &size);
    if (cancelled_) {
      std::fputs("^C\n", stderr);
      return Result::kCancelled;
    }
    if (text == nullptr || size <= 0) {
      std::fputs("\n", stderr);
      return Result::kEnd;
    }
    line = std::string(absl::StripSuffix(
        absl::string_view(text, static_cast<size_t>(size)), "\n"));
    if (!line.empty()) {
      HistEvent event;
      history(history_, &event, H_ENTER, line.c_str());
    }
    return Result::kLine;
  }

  static EditingReader& Of(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return *static_cast<EditingReader*>(self);
  }
  static char* Prompt(EditLine* edit) {
    EditingReader& self = Of(edit);
    if (self.continues_) return const_cast<char*>(kContinuation);
    return self.prompt_.data();
  }
  static unsigned char Cancel(EditLine* edit, wint_t /*key*/) {
    Of(edit).cancelled_ = true;
    return CC_EOF;
  }
  static unsigned char Suspend(EditLine* /*edit*/, wint_t /*key*/) {
    // The library's handler (EL_SIGNAL) gives the terminal back around it.
    std::raise(SIGTSTP);
    return CC_REDISPLAY;
  }

  std::string prompt_;
  std::string history_file_;
  EditLine* edit_ = nullptr;
  History* history_ = nullptr;
  bool continues_ = false;
  bool cancelled_ = false;
};

}  // namespace

LineReader::Result LineReader::Read(std::string& line) {
  line.clear();
  std::string part;
  for (bool continues = false;; continues = true) {
    const Result result = ReadOne(continues, part);
    // What has come before the input's end is a line still.
    if (result == Result::kEnd && continues) return Result::kLine;
    if (result != Result::kLine) return result;
    if (continues) line += '\n';
    if (!absl::EndsWith(part, "\\")) {
      line += part;
      return Result::kLine;
    }
    line.append(part, 0, part.size() - 1);
  }
}

std::unique_ptr<LineReader> LineReader::Create(
    const std::string& prompt, const std::string& history_file) {
  if (::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1) {
    return std::make_unique<EditingReader>(prompt, history_file);
  }
  return std::make_unique<PlainReader>();
}

std::string DefaultHistoryFile() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (state != nullptr && *state != '\0') {
    folder = state;
  } else if (home != nullptr && *home != '\0') {
    folder = fs::path(home) / ".local" / "state";
  } else {
    return "";
  }
  std::error_code error;
  fs::create_directories(folder / "mkvm", error);
  return error ? "" : (folder / "mkvm" / "chat_history").string();
}

}  // namespace mkvm::cli
