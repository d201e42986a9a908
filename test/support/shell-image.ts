/** An image with a shell (busybox) and the users root and guest, for `covey image load`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { archiveOf, imageOf, layer } from './image-archive.ts';

const COMMANDS = ['sh', 'cat', 'id', 'sleep', 'stty', 'tty', 'kill', 'ps'];
const PASSWD = 'root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n';

/** Writes `shell:1` into `folder`; its command sleeps. Gives the path. */
export function buildShellImage(folder: string): string {
  const content = layer([
    { path: 'bin/', type: '5', mode: 0o755 },
    { path: 'bin/busybox', body: readFileSync('/bin/busybox'), mode: 0o755 },
    ...COMMANDS.map((name) => ({ path: `bin/${name}`, type: '2' as const, link: 'busybox' })),
    { path: 'etc/', type: '5', mode: 0o755 },
    { path: 'etc/passwd', body: PASSWD },
    { path: 'tmp/', type: '5', mode: 0o1777 },
  ]);
  const image = imageOf({ reference: 'shell:1', layers: [content], config: { Cmd: ['/bin/sleep', '1000000'] } });
  const path = join(folder, 'shell-1.tar');
  writeFileSync(path, archiveOf(image));
  return path;
}
