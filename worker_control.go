package caddysnake

// The control socket between Caddy and a worker or a zygote: each message is one
// JSON object in one packet, with descriptors beside it where
// docs/decisions/0060, which lists the messages, says so.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxControlMessage = 128 << 10 // bytes
	maxControlFiles   = 8
	// controlTimeout limits how long Caddy waits to send a message: a worker that is
	// stopped or stuck reads none.
	controlTimeout = 5 * time.Second
)

var errControl = errors.New("broken message on the control socket")

// controlSocket is Caddy's end of a control socket.
type controlSocket struct{ conn *net.UnixConn }

// packet is one message from the other side. Its descriptors belong to the receiver.
type packet struct {
	data  []byte
	files []int
}

// newControlSocket returns both ends. The other process gets theirs.
func newControlSocket() (ours controlSocket, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ours, nil, fmt.Errorf("making a control socket: %w", err)
	}
	mine := os.NewFile(uintptr(pair[0]), "control")
	theirs = os.NewFile(uintptr(pair[1]), "control")
	defer mine.Close()
	conn, err := net.FileConn(mine) // a duplicate
	if err != nil {
		theirs.Close()
		return ours, nil, fmt.Errorf("making a control socket: %w", err)
	}
	return controlSocket{conn.(*net.UnixConn)}, theirs, nil
}

// send sends a message, with descriptors that remain the caller's.
func (c controlSocket) send(message any, files ...int) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return c.sendRaw(data, files...)
}

func (c controlSocket) sendRaw(data []byte, files ...int) error {
	if len(data) > maxControlMessage || len(files) > maxControlFiles {
		return fmt.Errorf("%w: %d bytes, %d descriptors", errControl, len(data), len(files))
	}
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(controlTimeout)); err != nil {
		return err
	}
	_, _, err := c.conn.WriteMsgUnix(data, rights, nil)
	return err
}

// sendOrder sends a message whose content, in a file since it may be long, comes before
// the other descriptors.
func (c controlSocket) sendOrder(op string, content any, files ...int) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	file, err := newMemoryFile(op, data)
	if err != nil {
		return err
	}
	defer file.Close()
	return c.send(map[string]string{"op": op}, append([]int{int(file.Fd())}, files...)...)
}

// receive waits for a message. It returns io.EOF when the other process has ended or
// closed its end, and errControl for a message that does not fit.
func (c controlSocket) receive() (packet, error) {
	data := make([]byte, maxControlMessage)
	rights := make([]byte, unix.CmsgSpace(4*maxControlFiles))
	n, rightsLen, flags, _, err := c.conn.ReadMsgUnix(data, rights)
	if err != nil {
		return packet{}, err
	}
	files, err := descriptorsIn(rights[:rightsLen])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("%w: it is too long", errControl)
	}
	if err != nil {
		closeAll(files)
		return packet{}, err
	}
	return packet{data[:n:n], files}, nil
}

func (c controlSocket) close() { _ = c.conn.Close() }

// descriptorsIn returns the descriptors in ancillary data. They are open even if
// there is an error.
func descriptorsIn(rights []byte) ([]int, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errControl, err)
	}
	var files []int
	for i := range messages {
		found, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, fmt.Errorf("%w: %w", errControl, err)
		}
		files = append(files, found...)
	}
	return files, nil
}

func closeAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}
