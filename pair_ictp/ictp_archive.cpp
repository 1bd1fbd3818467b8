// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_archive.h"

#include <caffe2/serialize/inline_container.h>

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
uint32_t crc32(const void *data, size_t size)
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
  const auto *bytes = static_cast<const unsigned char *>(data);
  uint32_t sum = ~0U;
  for (size_t k = 0; k < size; ++k) sum = TABLE[(sum ^ bytes[k]) & 255] ^ sum >> 8;
  return ~sum;
}

/// Member, without the folder that PyTorch puts all of them in, and its sum, from the archive's
/// directory. PyTorch's reader was built not to look at them.
std::map<std::string, uint32_t> sums_of(std::string_view bytes)
{
  const size_t end = bytes.rfind("PK\5\6");
  if (end == std::string_view::npos || bytes.size() - end < 22)
    throw std::runtime_error("is truncated: copy it or export it again");
  uint64_t place = number_at(bytes, end + 16, 4), num_members = number_at(bytes, end + 10, 2);
  if (end >= 20 && bytes.substr(end - 20, 4) == "PK\6\7") {    // zip64
    const uint64_t end64 = number_at(bytes, end - 20 + 8, 8);
    num_members = number_at(bytes, end64 + 32, 8);
    place = number_at(bytes, end64 + 48, 8);
  }
  std::map<std::string, uint32_t> sums;
  for (uint64_t k = 0; k < num_members; ++k) {
    if (number_at(bytes, place, 4) != 0x02014B50)
      throw std::runtime_error(DAMAGED);
    const uint64_t length = number_at(bytes, place + 28, 2);
    number_at(bytes, place + 46 + length, 0);
    const std::string name(bytes.substr(place + 46, length));
    sums[name.substr(name.find('/') + 1)] = static_cast<uint32_t>(number_at(bytes, place + 16, 4));
    place += 46 + length + number_at(bytes, place + 30, 2) + number_at(bytes, place + 32, 2);
  }
  return sums;
}

/// Whether a dotted name of TorchScript code stands for what no model needs and a stranger's file
/// might use: files, operators of other libraries, code that runs while the file is loaded.
/// export/FORMAT.md has the same list.
bool is_refused(std::string_view name)
{
  for (const char *refused : {"torch.save", "torch.load", "torch.from_file"})
    if (name == refused)
      return true;
  if (name.find("__setstate__") != name.npos || name.find("__getstate__") != name.npos)
    return true;
  if (!name.starts_with("ops."))
    return false;
  const std::string_view library = name.substr(4, name.find('.', 4) - 4);
  return library != "aten" && library != "prim" && library != "prims" && library != "ictp";
}

void check_code(const std::string &member, std::string_view code)
{
  const auto in_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
  };
  for (auto c = code.begin(); c != code.end();) {
    const auto start = std::find_if(c, code.end(), in_name);
    c = std::find_if_not(start, code.end(), in_name);
    const std::string_view name(start, c);
    if (is_refused(name))
      throw std::runtime_error("its code (" + member + ") has " + std::string(name) +
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
  const std::map<std::string, uint32_t> sums = sums_of(*bytes);
  // one of torch.save has no constants, a TorchScript archive has
  if (sums.contains("data.pkl") && !sums.contains("constants.pkl"))
    throw std::runtime_error("is a checkpoint of a training: export it with `ictp export`");
  if (!sums.contains("constants.pkl"))
    throw std::runtime_error("not an exported model (an archive, but of something else): make one "
                             "with `ictp export`");
  std::string metadata;
  try {
    caffe2::serialize::PyTorchStreamReader archive(std::make_shared<BytesReader>(bytes));
    for (const auto &[member, sum] : sums) {
      const auto [data, size] = archive.getRecord(member);
      if (crc32(data.get(), size) != sum)
        throw std::runtime_error("member " + member +
                                 " does not have the check sum that the archive keeps of it: copy "
                                 "the file or export it again");
      const std::string text(static_cast<const char *>(data.get()), size);
      if (member.starts_with("code/") && member.ends_with(".py"))
        check_code(member, text);
      if (member == "extra/metadata.json")
        metadata = text;
    }
  } catch (const c10::Error &) {
    throw std::runtime_error(DAMAGED);
  }
  return metadata;
}

}    // namespace ictp
