// libopendkim in a file of its own: its header is C and defines short macros.
#include "tests/dkim/opendkim_judge.hpp"

#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

#include <fmt/format.h>
#include <sys/types.h>

#define _Bool bool  // the header speaks C99
extern "C" {
#include <opendkim/dkim.h>
}

namespace danki::dkim::test {
namespace {

thread_local const std::map<std::string, std::string>* known_records = nullptr;

DKIM_CBSTAT look_up(DKIM*, DKIM_SIGINFO* signature, u_char* buffer, size_t size) {
  const std::string name = std::string(reinterpret_cast<const char*>(dkim_sig_getselector(signature))) +
                           "._domainkey." + reinterpret_cast<const char*>(dkim_sig_getdomain(signature));
  const auto found = known_records->find(name);
  if (found == known_records->end()) return DKIM_CBSTAT_NOTFOUND;
  std::snprintf(reinterpret_cast<char*>(buffer), size, "%s", found->second.c_str());
  return DKIM_CBSTAT_CONTINUE;
}

/// Without it the library stops at the first signature that passes.
DKIM_CBSTAT judge_all(DKIM* handle, DKIM_SIGINFO** signatures, int count) {
  for (int i = 0; i < count; ++i) dkim_sig_process(handle, signatures[i]);
  return DKIM_CBSTAT_CONTINUE;
}

}  // namespace

std::vector<std::string> opendkim_verdicts(const std::string& message,
                                           const std::map<std::string, std::string>& records) {
  known_records = &records;
  const std::unique_ptr<DKIM_LIB, decltype(&dkim_close)> library(dkim_init(nullptr, nullptr), dkim_close);
  if (!library) throw std::runtime_error("dkim_init");
  dkim_set_key_lookup(library.get(), look_up);
  dkim_set_final(library.get(), judge_all);
  DKIM_STAT status = DKIM_STAT_OK;
  const std::unique_ptr<DKIM, decltype(&dkim_free)> handle(
      dkim_verify(library.get(), reinterpret_cast<const unsigned char*>("test"), nullptr, &status), dkim_free);
  if (!handle) throw std::runtime_error("dkim_verify");

  std::string content = message;
  status = dkim_chunk(handle.get(), reinterpret_cast<unsigned char*>(content.data()), content.size());
  if (status == DKIM_STAT_OK) status = dkim_chunk(handle.get(), nullptr, 0);
  if (status == DKIM_STAT_OK) dkim_eom(handle.get(), nullptr);

  std::vector<std::string> verdicts;
  DKIM_SIGINFO** signatures = nullptr;
  int count = 0;
  if (dkim_getsiglist(handle.get(), &signatures, &count) != DKIM_STAT_OK) {
    return {std::string("no signatures: ") + dkim_getresultstr(status)};
  }
  for (int i = 0; i < count; ++i) {
    const char* reason = dkim_sig_geterrorstr(dkim_sig_geterror(signatures[i]));
    verdicts.push_back(DKIM_SIG_CHECK(signatures[i])
                           ? std::string("pass")
                           : fmt::format("{}, algorithm {}, flags {:#x}, body hash {}",
                                         reason ? reason : "error of no name",
                                         reinterpret_cast<const char*>(dkim_sig_getalgorithm(signatures[i])),
                                         dkim_sig_getflags(signatures[i]), dkim_sig_getbh(signatures[i])));
  }
  return verdicts;
}

}  // namespace danki::dkim::test
