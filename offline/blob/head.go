// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrCorrupt: the head is not what we wrote, or the content is cut.
var ErrCorrupt = errors.New("a stored file is damaged")

// headMax is more than a head with the longest names has.
const headMax = 16 << 10

// sealHead is what stands before the content: its length, then the head,
// sealed under the store's key and tied to the name of the file.
func (f *Folder) sealHead(name string, h Head) ([]byte, error) {
	p, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, f.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	sealed := f.seal.Seal(nonce, nonce, p, []byte("blob "+name))
	if len(sealed) > headMax {
		return nil, errors.New("the names of a file are too long")
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(sealed))), sealed...), nil
}

// read opens a file up to its content.
func (f *Folder) read(name string) (file *os.File, h Head, err error) {
	if file, err = os.Open(f.path(name)); err != nil {
		return nil, h, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if h, err = f.openHead(name, file); err != nil {
		return nil, h, err
	}
	st, err := file.Stat()
	if err != nil {
		return nil, h, err
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, h, err
	}
	if st.Size() != at+h.Size {
		return nil, h, fmt.Errorf("%d bytes instead of %d: %w", st.Size()-at, h.Size, ErrCorrupt)
	}
	return file, h, nil
}

func (f *Folder) openHead(name string, r io.Reader) (h Head, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return h, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	n, nonce := int(binary.BigEndian.Uint32(length[:])), f.seal.NonceSize()
	if n < nonce || n > headMax {
		return h, ErrCorrupt
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return h, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	p, err := f.seal.Open(nil, sealed[:nonce], sealed[nonce:], []byte("blob "+name))
	if err != nil {
		return h, ErrCorrupt
	}
	return h, json.Unmarshal(p, &h)
}
