// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_archive.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace ictp {

size_t BytesReader::read(uint64_t start, void *buffer, size_t num, const char * /*what*/) const
{
  if (start >= bytes->size())
    return 0;
  num = std::min<size_t>(num, bytes->size() - start);
  memcpy(buffer, bytes->data() + start, num);
  return num;
}

namespace {

constexpr char DAMAGED[] = "is damaged: copy it or export it again";

/// Little-endian number of a zip archive.
uint64_t number_at(std::string_view bytes, size_t place, int size)
{
  if (place > bytes.size() || bytes.size() - place < static_cast<size_t>(size))
    throw std::runtime_error(DAMAGED);
  uint64_t value = 0;
  for (int k = size; k-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[place + k]);
  return value;
}

/// The sum that zip archives keep of every member.
uint32_t crc32(std::string_view bytes)
{
  static const std::array<uint32_t, 256> TABLE = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t k = 0; k < 256; ++k) {
      uint32_t value = k;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0xEDB88320U : value >> 1;
      table[k] = value;
    }
    return table;
  }();
  uint32_t sum = ~0U;
  for (const char byte : bytes)
    sum = TABLE[(sum ^ static_cast<unsigned char>(byte)) & 255] ^ sum >> 8;
  return ~sum;
}

/// The members of an archive by their names, without the folder that PyTorch puts all of them in,
/// as the archive's directory has them. Each is what its check sum says; PyTorch's reader was built
/// not to look, and takes damaged compressed members for whatever its memory holds.
std::map<std::string, std::string_view> members_of(std::string_view bytes)
{
  const size_t end = bytes.rfind("PK\5\6");
  if (end == std::string_view::npos || bytes.size() - end < 22)
    throw std::runtime_error("is truncated: copy it or export it again");
  std::map<std::string, std::string_view> members;
  uint64_t place = number_at(bytes, end + 16, 4);
  for (uint64_t k = number_at(bytes, end + 10, 2); k > 0; --k) {
    if (number_at(bytes, place, 4) != 0x02014B50)
      throw std::runtime_error(DAMAGED);
    const uint64_t method = number_at(bytes, place + 10, 2), sum = number_at(bytes, place + 16, 4),
                   size = number_at(bytes, place + 24, 4), length = number_at(bytes, place + 28, 2),
                   local = number_at(bytes, place + 42, 4);
    const uint64_t start =
        local + 30 + number_at(bytes, local + 26, 2) + number_at(bytes, local + 28, 2);
    if (place + 46 + length > bytes.size() || start > bytes.size() || size > bytes.size() - start)
      throw std::runtime_error(DAMAGED);
    // PyTorch's reader takes capital letters for small ones
    std::string name(bytes.substr(place + 46, length));
    std::ranges::transform(name, name.begin(), [](unsigned char c) {
      return std::tolower(c);
    });
    name.erase(0, name.find('/') + 1);
    if (method != 0)
      throw std::runtime_error("not an exported model (" + name +
                               " is compressed): make one with `ictp export`");
    const std::string_view data = bytes.substr(start, size);
    if (crc32(data) != sum)
      throw std::runtime_error("member " + name +
                               " does not have the check sum that the archive keeps of it: copy "
                               "the file or export it again");
    if (!members.emplace(name, data).second)
      throw std::runtime_error("has two members of the name " + name + ": export it again");
    place += 46 + length + number_at(bytes, place + 30, 2) + number_at(bytes, place + 32, 2);
  }
  return members;
}

/// There is one directory only, right before the end record (22 bytes) that names it: another
/// reader must not find a second, in which the members have other contents.
void check_directory(std::string_view bytes)
{
  const size_t end = bytes.size() - 22;
  const uint64_t size = number_at(bytes, end + 12, 4), start = number_at(bytes, end + 16, 4);
  const bool has_locator = end >= 20 && bytes.substr(end - 20, 4) == "PK\6\7";
  if (has_locator || bytes.substr(end, 4) != "PK\5\6" || start + size != end)
    throw std::runtime_error(DAMAGED);
}

bool is_letter(char c)
{
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

/// Whether a word of TorchScript code, with what follows it, stands for what no model needs and a
/// stranger's file might use: files, other processes, operators of other libraries, code that runs
/// while the file is loaded, names that hide what is called. export/FORMAT.md has the same list.
bool is_refused(std::string_view word, std::string_view rest)
{
  for (const char *refused : {"save", "load", "from_file", "rpc_sync", "rpc_async", "rpc_remote",
                              "classes", "__setstate__", "__getstate__", "getattr"})
    if (word == refused)
      return true;
  if (word == "torch")    // under another name it could be asked for anything
    return rest.size() < 2 || rest[0] != '.' || !is_letter(rest[1]);
  if (word != "ops")
    return false;
  return std::ranges::none_of(std::array{".aten.", ".prim.", ".prims.", ".ictp."},
                              [rest](const char *library) {
                                return rest.starts_with(library);
                              });
}

void check_code(const std::string &member, std::string_view code)
{
  for (auto c = code.begin(); c != code.end();) {
    const auto start = std::find_if(c, code.end(), is_letter);
    c = std::find_if_not(start, code.end(), is_letter);
    if (is_refused({start, c}, {c, code.end()}))
      throw std::runtime_error("its code (" + member + ") has " + std::string(start, c) +
                               ", which no exported model needs: do not use it, and ask where it "
                               "came from");
  }
}

}    // namespace

std::string check_archive(const std::shared_ptr<const std::string> &bytes)
{
  if (!bytes->starts_with("PK\3\4"))
    throw std::runtime_error("not an exported model (those are zip archives, this file is "
                             "something else): make one with `ictp export`");
  const std::map<std::string, std::string_view> members = members_of(*bytes);
  // one of torch.save has no constants, a TorchScript archive has
  if (!members.contains("constants.pkl"))
    throw std::runtime_error(members.contains("data.pkl")
                                 ? "is a checkpoint of a training: export it with `ictp export`"
                                 : "not an exported model (an archive, but of something else): "
                                   "make one with `ictp export`");
  check_directory(*bytes);
  for (const auto &[name, data] : members)
    if (name.starts_with("code/"))
      check_code(name, data);
  const auto metadata = members.find("extra/metadata.json");
  return std::string(metadata == members.end() ? std::string_view() : metadata->second);
}

}    // namespace ictp
