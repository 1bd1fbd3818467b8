// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_ARCHIVE_H
#define ICTP_ARCHIVE_H

#include <caffe2/serialize/read_adapter_interface.h>

#include <cstddef>
#include <memory>
#include <string>

namespace ictp {

/// The bytes of a file in memory, as PyTorch's readers take them.
class BytesReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit BytesReader(std::shared_ptr<const std::string> bytes)
      : bytes(std::move(bytes))
  {
  }

  size_t size() const override { return bytes->size(); }
  size_t read(uint64_t start, void *buffer, size_t num, const char *what) const override;

 private:
  std::shared_ptr<const std::string> bytes;
};

/// Throws std::runtime_error, without the file's name, unless the bytes are an archive of an
/// exported model that is whole, each member's check sum right, and whose code calls nothing that
/// no model needs: what reads or writes files, and what runs while it is loaded. Returns the text
/// of metadata.json, empty if there is none.
std::string check_archive(const std::shared_ptr<const std::string> &bytes);

}    // namespace ictp

#endif
