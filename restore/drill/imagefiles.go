package drill

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// fileSet is what a local image is made of: path in the image to path here.
type fileSet map[string]string

// The user a node runs as, in every image: nobody in particular.
const nodeUser = 999

// imagePrograms is where the image has its programs; it is on every default
// PATH.
const imagePrograms = "/usr/local/bin"

// imageFiles collects a server program, its command line client where one is
// installed beside it, and the shared libraries and loader they need.
func imageFiles(ctx context.Context, server string) (fileSet, error) {
	programs := []string{server}
	client := strings.TrimSuffix(filepath.Base(server), "-server") + "-cli"
	if found, err := exec.LookPath(filepath.Join(filepath.Dir(server), client)); err == nil {
		programs = append(programs, found)
	}
	files := fileSet{}
	for _, program := range programs {
		files[filepath.Join(imagePrograms, filepath.Base(program))] = program
		libraries, err := sharedLibraries(ctx, program)
		if err != nil {
			return nil, err
		}
		for _, library := range libraries {
			files[library] = library
		}
	}
	return files, nil
}

// sharedLibraries asks ldd, which asks the loader itself: what it names is
// exactly what would be loaded here, the loader included.
func sharedLibraries(ctx context.Context, program string) ([]string, error) {
	var out, failure bytes.Buffer
	cmd := exec.CommandContext(ctx, "ldd", program)
	cmd.Stdout, cmd.Stderr = &out, &failure
	// Its words are read, so they must be English.
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		if strings.Contains(out.String()+failure.String(), "not a dynamic executable") {
			return nil, nil
		}
		return nil, fmt.Errorf("list libraries of %s: %w: %s", program, err, strings.TrimSpace(failure.String()))
	}
	return parseLibraries(program, &out)
}

// parseLibraries reads lines like "libm.so.6 => /lib/libm.so.6 (0x7f00)" and
// "/lib64/ld-linux-x86-64.so.2 (0x7f00)". linux-vdso.so.1 has no file.
func parseLibraries(program string, out io.Reader) ([]string, error) {
	var libraries []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasSuffix(line, "not found") {
			return nil, fmt.Errorf("list libraries of %s: %s", program, strings.TrimSpace(line))
		}
		for _, word := range strings.Fields(line) {
			if filepath.IsAbs(word) {
				libraries = append(libraries, filepath.Clean(word))
			}
		}
	}
	return libraries, lines.Err()
}

// digest is the hash of all paths and contents: equal files, equal image.
func (s fileSet) digest() (string, error) {
	all := sha256.New()
	for _, inside := range slices.Sorted(maps.Keys(s)) {
		one := sha256.New()
		if err := copyFile(one, s[inside]); err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s %x\n", inside, one.Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// writeTar writes the image's file system. Folders stand before what they hold:
// an engine that has to invent one gives it no mode to rely on.
func (s fileSet) writeTar(to io.Writer) error {
	archive := tar.NewWriter(to)
	account := fmt.Sprintf("slotark:x:%d:", nodeUser)
	texts := map[string]string{
		"/etc/passwd": "root:x:0:0:root:/:/sbin/nologin\n" + account + fmt.Sprintf("%d:drill:/data:/sbin/nologin\n", nodeUser),
		"/etc/group":  "root:x:0:\n" + account + "\n",
	}
	folders := map[string]*tar.Header{
		"/data": {Mode: 0o700, Uid: nodeUser, Gid: nodeUser},
		"/tmp":  {Mode: 0o1777},
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(s)), slices.Collect(maps.Keys(texts))) {
		for dir := filepath.Dir(name); dir != "/"; dir = filepath.Dir(dir) {
			folders[dir] = &tar.Header{Mode: 0o755}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		header := folders[name]
		header.Typeflag, header.Name = tar.TypeDir, strings.TrimPrefix(name, "/")+"/"
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("write folder %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := addFile(archive, name, 0o644, int64(len(texts[name])), strings.NewReader(texts[name])); err != nil {
			return err
		}
	}
	for _, inside := range slices.Sorted(maps.Keys(s)) {
		if err := s.addTo(archive, inside); err != nil {
			return err
		}
	}
	return archive.Close()
}

// addTo adds one file, following links: Debian's redis-server is one.
func (s fileSet) addTo(archive *tar.Writer, inside string) (err error) {
	f, err := os.Open(s[inside])
	if err != nil {
		return fmt.Errorf("open file for image: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat file for image: %w", err)
	}
	return addFile(archive, inside, 0o755, info.Size(), f)
}

func addFile(archive *tar.Writer, name string, mode, size int64, body io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(name, "/"), Mode: mode, Size: size}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("write header of %s: %w", name, err)
	}
	if _, err := io.Copy(archive, body); err != nil {
		return fmt.Errorf("write %s to image: %w", name, err)
	}
	return nil
}

func copyFile(to io.Writer, path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open file for image: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(to, f); err != nil {
		return fmt.Errorf("read file for image: %w", err)
	}
	return nil
}
