// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The known states; callers map them to XMPP's and HTTP's errors.
var (
	ErrGone  = errors.New("there is no such file")
	ErrQuota = errors.New("too much is kept for this account")
	ErrFull  = errors.New("the disk is almost full")
)

// spare is what files leave free on the disk: mail comes first.
const spare = 256 << 20

// A Head is what is known of a file.
type Head struct {
	Owner, Name, Type string
	Class             string // files of one owner and class share a quota
	Size              int64
	Expires           time.Time
}

// A Folder is one open folder of files.
type Folder struct {
	// fixed: set by New, read-only after.
	dir  string
	seal cipher.AEAD
	bad  []string // damaged files

	// shared: guarded by mu.
	mu   sync.Mutex
	kept map[string]kept // by the name of the file
	used map[purse]int64 // bytes, with those that are reserved
}

// A purse is what one quota is for.
type purse struct{ owner, class string }

type kept struct {
	purse
	cost    int64
	expires time.Time
}

const half = ".part" // of files that are not whole

// New opens or makes a folder. Files that were not whole are removed, damaged
// ones are left alone and named in the log.
func New(dir string, seal cipher.AEAD, log *slog.Logger) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &Folder{dir: dir, seal: seal, kept: map[string]kept{}, used: map[purse]int64{}}
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		name := d.Name()
		if strings.HasSuffix(name, half) {
			if err := os.Remove(f.path(name)); err != nil {
				return nil, err
			}
			continue
		}
		file, h, err := f.read(name)
		if err != nil {
			log.Error("uploaded file", "id", name, "err", err)
			f.bad = append(f.bad, fmt.Sprintf("%s: %v", f.path(name), err))
			continue
		}
		file.Close()
		f.keep(name, h)
	}
	return f, syncDir(filepath.Dir(dir))
}

// Count is how many files there are, and which ones were damaged when it opened.
func (f *Folder) Count() (n int, bad []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.kept), f.bad
}

func (f *Folder) path(name string) string { return filepath.Join(f.dir, name) }

// least is what a file counts at least: very many small ones are a load, too.
const least = 64 << 10

func (h *Head) cost() int64 { return max(h.Size, least) }

// keep notes a file; f.mu is held, or nobody else has f yet.
func (f *Folder) keep(name string, h Head) {
	p := purse{h.Owner, h.Class}
	f.kept[name] = kept{p, h.cost(), h.Expires}
	f.used[p] += h.cost()
}

// Hidden is the name under which the file with an id is kept: the folder does
// not tell how to ask for it.
func Hidden(id string) string {
	sum := sha256.Sum256([]byte(id))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

// Reserve sets room aside within a quota; Release gives it back.
func (f *Folder) Reserve(h Head, quota int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free-h.Size < spare {
		return ErrFull
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := purse{h.Owner, h.Class}
	if h.cost() > quota-f.used[p] {
		return ErrQuota
	}
	f.used[p] += h.cost()
	return nil
}

// Release gives back what Reserve took.
func (f *Folder) Release(h Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spend(purse{h.Owner, h.Class}, -h.cost())
}

func (f *Folder) spend(p purse, n int64) {
	if f.used[p] += n; f.used[p] <= 0 {
		delete(f.used, p)
	}
}

// Write takes a whole file for which room is reserved; when it returns nil, it
// is on disk under its id. The reservation has become the file.
func (f *Folder) Write(id string, h Head, r io.Reader) (err error) {
	name := Hidden(id)
	tmp, err := os.OpenFile(f.path(name+half), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	head, err := f.sealHead(name, h)
	if err != nil {
		return err
	}
	if _, err := tmp.Write(head); err != nil {
		return err
	}
	n, err := io.Copy(tmp, io.LimitReader(r, h.Size+1))
	if err != nil {
		return err
	}
	if n != h.Size {
		return fmt.Errorf("%d bytes instead of %d: %w", n, h.Size, io.ErrUnexpectedEOF)
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), f.path(name)); err != nil {
		return err
	}
	if err := errors.Join(tmp.Close(), syncDir(f.dir)); err != nil {
		return errors.Join(err, os.Remove(f.path(name)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spend(purse{h.Owner, h.Class}, -h.cost())
	f.keep(name, h)
	return nil
}

// Open gives a file's head and content; who closes it is the caller.
func (f *Folder) Open(id string, now time.Time) (*os.File, *io.SectionReader, Head, error) {
	name := Hidden(id)
	f.mu.Lock()
	k, ok := f.kept[name]
	f.mu.Unlock()
	if !ok {
		return nil, nil, Head{}, ErrGone
	}
	if !now.Before(k.expires) {
		return nil, nil, Head{}, errors.Join(ErrGone, f.erase(name))
	}
	file, h, err := f.read(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, Head{}, ErrGone // it went this moment
	}
	if err != nil {
		return nil, nil, Head{}, err
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		file.Close()
		return nil, nil, Head{}, err
	}
	return file, io.NewSectionReader(file, at, h.Size), h, nil
}

// Sweep erases what has expired.
func (f *Folder) Sweep(now time.Time) (n int, err error) {
	return f.eraseIf(func(k kept) bool { return !now.Before(k.expires) })
}

// Forget erases all files of an owner.
func (f *Folder) Forget(owner string) error {
	_, err := f.eraseIf(func(k kept) bool { return k.owner == owner })
	return err
}

func (f *Folder) eraseIf(due func(kept) bool) (n int, err error) {
	var names []string
	f.mu.Lock()
	for name, k := range f.kept {
		if due(k) {
			names = append(names, name)
		}
	}
	f.mu.Unlock()
	for _, name := range names {
		err = errors.Join(err, f.erase(name))
	}
	return len(names), err
}

// erase removes one file; the folder is synced, so that it does not come back.
func (f *Folder) erase(name string) error {
	f.mu.Lock()
	k, ok := f.kept[name]
	if ok {
		delete(f.kept, name)
		f.spend(k.purse, -k.cost)
	}
	f.mu.Unlock()
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		if ok { // try again at the next sweep
			f.mu.Lock()
			f.kept[name] = k
			f.used[k.purse] += k.cost
			f.mu.Unlock()
		}
		return err
	}
	return syncDir(f.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
