//go:build !pyext

package caddysnake

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const nobody = 65534

// lowPorts is the file capability that lets Caddy bind ports 80 and 443.
func lowPorts() []byte {
	const revision2, effective = 0x02000000, 1
	var b bytes.Buffer
	for _, word := range []uint32{revision2 | effective, 1 << unix.CAP_NET_BIND_SERVICE, 0, 0, 0} {
		_ = binary.Write(&b, binary.LittleEndian, word)
	}
	return b.Bytes()
}

func TestWorkerStartsFromAnExecutableWithCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives capabilities")
	}
	dir, err := os.MkdirTemp("", "capabilities")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	executable := filepath.Join(dir, "test")
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", own, executable).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := unix.Setxattr(executable, "security.capability", lowPorts(), 0); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(executable, "-test.run", "^TestWorkerServesWSGI", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("error while loading shared libraries")) {
		t.Skip("only root can read this Python")
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestWorkerServesWSGI")) {
		t.Errorf("%v\n%s", err, out)
	}
}
