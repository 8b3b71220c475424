// SPDX-License-Identifier: Apache-2.0

package ratchet

import (
	"encoding/binary"
	"math"
)

const version = 0x33 // libsignal's "version 3, current 3"; others are refused by strict readers

// fields is a decoded protobuf message: the last value of each field wins.
type fields struct {
	num  [8]uint64
	has  [8]bool
	data [8][]byte
}

// parse reads a protobuf message of at most 7 known fields; unknown ones are passed over.
func parse(b []byte) (f fields, err error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
			return f, ErrFraming
		}
		b = b[n:]
		var num uint64
		var data []byte
		switch tag & 7 {
		case 0:
			if num, n = binary.Uvarint(b); n <= 0 {
				return f, ErrFraming
			}
			b = b[n:]
		case 1, 5:
			n = 8
			if tag&7 == 5 {
				n = 4
			}
			if len(b) < n {
				return f, ErrFraming
			}
			b = b[n:]
			continue
		case 2:
			l, n := binary.Uvarint(b)
			if n <= 0 || l > uint64(len(b)-n) {
				return f, ErrFraming
			}
			data, b = b[n:n+int(l)], b[n+int(l):]
		default:
			return f, ErrFraming
		}
		if id := tag >> 3; id < 8 {
			f.num[id], f.data[id], f.has[id] = num, data, true
		}
	}
	return f, nil
}

// u32 is a number that must be there and fit.
func (f *fields) u32(id int) (uint32, error) {
	if !f.has[id] || f.data[id] != nil || f.num[id] > math.MaxUint32 {
		return 0, ErrFraming
	}
	return uint32(f.num[id]), nil
}

func putNum(b []byte, id int, v uint32) []byte {
	return binary.AppendUvarint(append(b, byte(id<<3)), uint64(v))
}

func putData(b []byte, id int, v []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(id<<3|2)), uint64(len(v)))
	return append(b, v...)
}

// frameAxolotl writes the version byte and a SignalMessage.
func frameAxolotl(h header, body []byte) []byte {
	b := make([]byte, 1, 64+len(body))
	b[0] = version
	b = putData(b, 1, Key33(h.dh))
	b = putNum(b, 2, h.n)
	b = putNum(b, 3, h.pn)
	return putData(b, 4, body)
}

func sealAxolotl(frame, mac []byte) []byte { return append(frame, mac...) }

func openAxolotl(raw []byte) (h header, frame, mac []byte, err error) {
	if len(raw) < 1+8 || raw[0]>>4 != 3 {
		return h, nil, nil, ErrFraming
	}
	frame, mac = raw[:len(raw)-8], raw[len(raw)-8:]
	f, err := parse(frame[1:])
	if err != nil {
		return h, nil, nil, err
	}
	if h.dh, err = Of33(f.data[1]); err != nil {
		return h, nil, nil, err
	}
	if h.n, err = f.u32(2); err != nil {
		return h, nil, nil, err
	}
	if f.has[3] { // proto2 writers leave a zero out
		if h.pn, err = f.u32(3); err != nil {
			return h, nil, nil, err
		}
	}
	h.body = f.data[4]
	return h, frame, mac, nil
}

// frameTwo writes an OMEMOMessage.
func frameTwo(h header, body []byte) []byte {
	b := make([]byte, 0, 64+len(body))
	b = putNum(b, 1, h.n)
	b = putNum(b, 2, h.pn)
	b = putData(b, 3, h.dh[:])
	return putData(b, 4, body)
}

// sealTwo writes an OMEMOAuthenticatedMessage.
func sealTwo(frame, mac []byte) []byte {
	b := make([]byte, 0, len(frame)+len(mac)+8)
	return putData(putData(b, 1, mac), 2, frame)
}

func openTwo(raw []byte) (h header, frame, mac []byte, err error) {
	outer, err := parse(raw)
	if err != nil {
		return h, nil, nil, err
	}
	frame, mac = outer.data[2], outer.data[1]
	if len(mac) != 16 {
		return h, nil, nil, ErrFraming
	}
	f, err := parse(frame)
	if err != nil {
		return h, nil, nil, err
	}
	if h.n, err = f.u32(1); err != nil {
		return h, nil, nil, err
	}
	if h.pn, err = f.u32(2); err != nil {
		return h, nil, nil, err
	}
	if len(f.data[3]) != 32 {
		return h, nil, nil, ErrFraming
	}
	h.dh, h.body = [32]byte(f.data[3]), f.data[4]
	return h, frame, mac, nil
}
