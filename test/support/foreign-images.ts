/** Images made by other tools, from busybox alone; each says who made it, and sleeps. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const BUSYBOX = '/bin/busybox';

const command = (maker: string): readonly string[] => [
  BUSYBOX,
  'sh',
  '-c',
  `echo made by ${maker}; exec ${BUSYBOX} sleep 1000000`,
];

/** Made in `folder`, which the caller removes; as skopeo names it. */
export async function byUmoci(folder: string): Promise<string> {
  const layout = join(folder, 'umoci');
  const image = ['--image', `${layout}:1`];
  await run('umoci', ['init', '--layout', layout]);
  await run('umoci', ['new', ...image]);
  await run('umoci', ['insert', ...image, BUSYBOX, BUSYBOX]);
  const cmd = command('umoci').flatMap((word) => ['--config.cmd', word]);
  await run('umoci', ['config', ...image, ...cmd]);
  return `oci:${layout}:1`;
}

/** The same by buildah, from scratch, in a storage of its own. */
export async function byBuildah(folder: string): Promise<string> {
  const layout = join(folder, 'buildah');
  const own = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
  const context = join(folder, 'context');
  await mkdir(context);
  await copyFile(BUSYBOX, join(context, 'busybox'));
  const buildah = async (...args: readonly string[]): Promise<string> =>
    (await run('buildah', [...own, ...args])).stdout.trim();
  const container = await buildah('from', 'scratch');
  await buildah('copy', container, join(context, 'busybox'), BUSYBOX);
  await buildah('config', '--cmd', JSON.stringify(command('buildah')), container);
  await buildah('commit', container, `oci:${layout}:1`);
  await buildah('rm', container);
  return `oci:${layout}:1`;
}
