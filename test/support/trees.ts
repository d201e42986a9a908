/** Trees of files for tests, and what they consist of. */
import { execFileSync } from 'node:child_process';

/** A whole Debian takes a few MiB to describe. */
const OUTPUT = { encoding: 'utf8', maxBuffer: 2 ** 28 } as const;

/** Every path with all that tar keeps of it; hard links by their first name. In Python, because Node has no xattrs and file names here are no text. */
export const describeTree = (root: string): string => execFileSync('python3', ['-c', DESCRIBE, root], OUTPUT);
const DESCRIBE = `
import hashlib, os, stat, sys
root, first = os.fsencode(sys.argv[1]), {}
def show(path):
    full = os.path.join(root, path)
    s = os.lstat(full)
    body = hashlib.sha256(open(full, 'rb').read()).hexdigest() if stat.S_ISREG(s.st_mode) else ''
    target = os.readlink(full) if stat.S_ISLNK(s.st_mode) else ''
    print(path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev, body, target, first.setdefault(s.st_ino, path))
    if stat.S_ISDIR(s.st_mode):
        for name in sorted(os.listdir(full)): show(os.path.join(path, name))
show(b'.')
`;

/** Where the files with holes have bytes. */
export const holesOf = (root: string): string => execFileSync('python3', ['-c', HOLES, root], OUTPUT);
const HOLES = `
import os, stat, sys
root = os.fsencode(sys.argv[1])
for folder, _, files in sorted(os.walk(root)):
    for name in sorted(files):
        path = os.path.join(folder, name)
        if not stat.S_ISREG(os.lstat(path).st_mode): continue
        with open(path, 'rb') as file:
            size, at, there = os.fstat(file.fileno()).st_size, 0, []
            while at < size:
                try: start = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError: break
                at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                there.append((start, at))
            if there != [(0, size)] and size > 0: print(os.path.relpath(path, root).decode('latin1'), size, there)
`;

/** Every extended attribute. */
export const xattrsOf = (root: string): string => execFileSync('python3', ['-c', XATTRS, root], OUTPUT);
const XATTRS = `
import os, sys
root = os.fsencode(sys.argv[1])
for folder, names, files in sorted(os.walk(root)):
    for name in [b'.'] + sorted(names + files):
        path = os.path.join(folder, name)
        for key in sorted(os.listxattr(path, follow_symlinks=False)):
            print(os.path.relpath(path, root).decode('latin1'), key, os.getxattr(path, key, follow_symlinks=False).hex())
`;

/** Makes a tree with every kind of thing that layers hold, in the folder it runs in. */
export const MAKE_TREE = `
set -e
mkdir -p usr/bin etc empty "sp ace" deep/$(printf 'd%.0s' $(seq 1 120))/$(printf 'e%.0s' $(seq 1 120))
printf hello > usr/bin/tool; chmod 4755 usr/bin/tool; ln usr/bin/tool usr/bin/same; ln -s ../usr/bin/tool etc/link; ln -s /abs/where etc/abs
head -c 3000000 /dev/urandom > etc/big; chmod 0640 etc/big; chown 12:34 etc/big; : > etc/none
printf long > deep/$(printf 'd%.0s' $(seq 1 120))/$(printf 'e%.0s' $(seq 1 120))/file
mkfifo pipe; chmod 0622 pipe; mkdir tmp; chmod 1777 tmp; chown -h 7:8 etc/link; chmod 2750 empty; chown 3000000:3000001 empty
python3 - <<'P'
import os
os.setxattr('etc/none', 'user.note', b'\\x00\\xff=\\n')
os.setxattr('usr/bin/tool', 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000'))
os.setxattr('tmp', 'user.folder', b'yes')
open(b'etc/\\xff\\xfe', 'w').write('odd name')
P
touch -d '2001-02-03T04:05:06.789012345Z' etc/big; touch -h -d '1999-01-01T00:00:00.5Z' etc/link; touch -d '1960-01-01T00:00:00Z' etc/none; touch -d '2002-02-02T02:02:02.2Z' etc usr usr/bin tmp deep .
`;
