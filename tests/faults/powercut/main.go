// A file system for trials of a power cut: it shows a folder, and can go back to what was synced.
//
// powercut FOLDER MOUNTPOINT prints "ready" and serves until SIGTERM. SIGUSR1 cuts the power: every
// later call fails with EIO; it prints "cut" and how many files have something to lose. When it
// ends after that, each file goes back to what it was at its last fsync, fdatasync or O_SYNC write:
// not before, since programs that still run would see the old files. FOLDER is then what a machine
// would find at its next start.
//
// Kept for each file that has changed since: how to undo each change, latest first. Names are kept
// as soon as they change; a machine might lose the latest of them too.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// undo puts back what a range held, and the length of its file.
type undo struct {
	offset int64
	bytes  []byte
	size   int64
}

// file is one that has unsynced changes. Its descriptor keeps the inode's number from reuse.
type file struct {
	descriptor *os.File
	changes    []undo
}

// disk knows every unsynced change.
type disk struct {
	mutex sync.Mutex
	files map[uint64]*file
	off   bool
}

var power = disk{files: map[uint64]*file{}}

// change remembers a range of the file at path, and then changes it.
func (d *disk) change(path string, offset, length int64, apply func() syscall.Errno) syscall.Errno {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.off {
		return syscall.EIO
	}
	if err := d.remember(path, offset, length); err != nil {
		return fs.ToErrno(err)
	}
	return apply()
}

func (d *disk) remember(path string, offset, length int64) error {
	status, err := os.Stat(path)
	if err != nil {
		return err
	}
	number := status.Sys().(*syscall.Stat_t).Ino
	known := d.files[number]
	if known == nil {
		opened, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		known = &file{descriptor: opened}
		d.files[number] = known
	}
	held := make([]byte, max(0, min(length, status.Size()-offset)))
	if _, err := known.descriptor.ReadAt(held, offset); err != nil && err != io.EOF {
		return err
	}
	known.changes = append(known.changes, undo{offset, held, status.Size()})
	return nil
}

// sync forgets how to undo the changes of a file.
func (d *disk) sync(number uint64) syscall.Errno {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.off {
		return syscall.EIO
	}
	if known := d.files[number]; known != nil {
		known.descriptor.Close()
		delete(d.files, number)
	}
	return fs.OK
}

// cut lets nothing happen any more.
func (d *disk) cut() int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.off = true
	return len(d.files)
}

// goBack undoes what was not synced, if the power was cut.
func (d *disk) goBack() error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.off {
		return nil
	}
	for _, known := range d.files {
		for at := len(known.changes) - 1; at >= 0; at-- {
			change := known.changes[at]
			if _, err := known.descriptor.WriteAt(change.bytes, change.offset); err != nil {
				return err
			}
			if err := known.descriptor.Truncate(change.size); err != nil {
				return err
			}
		}
	}
	return nil
}

// alive is an error once the power is off.
func (d *disk) alive() syscall.Errno {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.off {
		return syscall.EIO
	}
	return fs.OK
}

// node is a file or folder whose changes are remembered.
type node struct {
	fs.LoopbackNode
}

func (n *node) path() string {
	return filepath.Join(n.RootData.Path, n.Path(n.Root()))
}

func (n *node) truncate(size int64) syscall.Errno {
	path := n.path()
	return power.change(path, size, 1<<62-size, func() syscall.Errno {
		return fs.ToErrno(syscall.Truncate(path, size))
	})
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if err := power.alive(); err != fs.OK {
		return err
	}
	if size, ok := in.GetSize(); ok {
		if err := n.truncate(int64(size)); err != fs.OK {
			return err
		}
		in.Valid &^= fuse.FATTR_SIZE
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if err := power.alive(); err != fs.OK {
		return err
	}
	return n.LoopbackNode.Getattr(ctx, f, out)
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if err := power.alive(); err != fs.OK {
		return nil, err
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if err := power.alive(); err != fs.OK {
		return nil, err
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if err := power.alive(); err != fs.OK {
		return err
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if err := power.alive(); err != fs.OK {
		return nil, 0, err
	}
	opened, hints, err := n.LoopbackNode.Open(ctx, flags&^uint32(syscall.O_TRUNC))
	if err != fs.OK {
		return nil, 0, err
	}
	if flags&syscall.O_TRUNC != 0 {
		if err := n.truncate(0); err != fs.OK {
			return nil, 0, err
		}
	}
	return handleOf(opened, n, flags), hints, fs.OK
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if err := power.alive(); err != fs.OK {
		return nil, nil, 0, err
	}
	made, opened, hints, err := n.LoopbackNode.Create(ctx, name, flags&^uint32(syscall.O_TRUNC), mode, out)
	if err != fs.OK {
		return nil, nil, 0, err
	}
	child := made.Operations().(*node)
	return made, handleOf(opened, child, flags), hints, fs.OK
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if err := power.alive(); err != fs.OK {
		return err
	}
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if err := power.alive(); err != fs.OK {
		return err
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

// handle is an open file. Calls that change nothing go to the one below.
type handle struct {
	fs.FileHandle
	node   *node
	number uint64
	synced bool
}

func handleOf(below fs.FileHandle, n *node, flags uint32) fs.FileHandle {
	var attributes fuse.AttrOut
	below.(fs.FileGetattrer).Getattr(context.Background(), &attributes)
	return &handle{below, n, attributes.Ino, flags&syscall.O_DSYNC != 0}
}

func (h *handle) Write(ctx context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	var written uint32
	// By its descriptor: the file may have no name any more.
	path := h.descriptorPath()
	err := power.change(path, offset, int64(len(data)), func() (err syscall.Errno) {
		written, err = h.FileHandle.(fs.FileWriter).Write(ctx, data, offset)
		return err
	})
	if err == fs.OK && h.synced {
		err = power.sync(h.number)
	}
	return written, err
}

func (h *handle) Allocate(ctx context.Context, offset, size uint64, mode uint32) syscall.Errno {
	return power.change(h.descriptorPath(), int64(offset), int64(size), func() syscall.Errno {
		return h.FileHandle.(fs.FileAllocater).Allocate(ctx, offset, size, mode)
	})
}

func (h *handle) descriptorPath() string {
	number, _ := h.FileHandle.(fs.FilePassthroughFder).PassthroughFd()
	return fmt.Sprintf("/proc/self/fd/%d", number)
}

func (h *handle) Fsync(_ context.Context, _ uint32) syscall.Errno {
	return power.sync(h.number)
}

func (h *handle) Read(ctx context.Context, into []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	if err := power.alive(); err != fs.OK {
		return nil, err
	}
	return h.FileHandle.(fs.FileReader).Read(ctx, into, offset)
}

func (h *handle) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return h.FileHandle.(fs.FileGetattrer).Getattr(ctx, out)
}

func (h *handle) Lseek(ctx context.Context, offset uint64, whence uint32) (uint64, syscall.Errno) {
	return h.FileHandle.(fs.FileLseeker).Lseek(ctx, offset, whence)
}

func (h *handle) Release(ctx context.Context) syscall.Errno {
	return h.FileHandle.(fs.FileReleaser).Release(ctx)
}

func (h *handle) Flush(_ context.Context) syscall.Errno {
	return power.alive()
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: powercut FOLDER MOUNTPOINT")
	}
	var status syscall.Stat_t
	if err := syscall.Stat(os.Args[1], &status); err != nil {
		log.Fatal(err)
	}
	root := &fs.LoopbackRoot{Path: os.Args[1], Dev: uint64(status.Dev)}
	root.NewNode = func(data *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{fs.LoopbackNode{RootData: data}}
	}
	top := root.NewNode(root, nil, "", &status)
	options := &fs.Options{MountOptions: fuse.MountOptions{
		AllowOther: true, DirectMountStrict: true, FsName: "powercut", DisableXAttrs: true,
		Options: []string{"default_permissions"},
	}}
	server, err := fs.Mount(os.Args[2], top, options)
	if err != nil {
		log.Fatal(err)
	}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("ready")
	for number := range heard {
		if number != syscall.SIGUSR1 {
			break
		}
		fmt.Println("cut", power.cut())
	}
	// Whoever holds a file of it open keeps it mounted, and is not waited for.
	_ = server.Unmount()
	if err := power.goBack(); err != nil {
		log.Fatal(err)
	}
}
