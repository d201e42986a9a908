/** A demo image with one more layer that nothing packs: it takes its time on a slow line. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { archiveOf, type BuiltImage, imageOf, layer } from './image-archive.ts';

interface Named {
  readonly digest: string;
}

/**
 * @param demo  path of the demo image's archive
 * @returns the image, and the path of its archive in `folder`
 */
export function heavier(
  demo: string,
  { reference, bytes, folder }: { readonly reference: string; readonly bytes: number; readonly folder: string },
): { readonly path: string; readonly image: BuiltImage } {
  const read = (name: string): Buffer => execFileSync('tar', ['-xOf', demo, name], { maxBuffer: 64 << 20 });
  const blob = ({ digest }: Named): Buffer => read(`blobs/sha256/${digest.slice('sha256:'.length)}`);
  const json = (text: Buffer): unknown => JSON.parse(text.toString('utf8'));
  const { manifests } = json(read('index.json')) as { readonly manifests: readonly [Named] };
  const manifest = json(blob(manifests[0])) as { readonly config: Named; readonly layers: readonly [Named] };
  const { config } = json(blob(manifest.config)) as { readonly config: Readonly<Record<string, unknown>> };
  const ballast = layer([{ path: 'ballast', body: randomBytes(bytes) }]);
  const image = imageOf({ reference, config, layers: [{ tar: gunzipSync(blob(manifest.layers[0])) }, ballast] });
  const path = join(folder, `${reference.replace(':', '-')}.tar`);
  writeFileSync(path, archiveOf(image));
  return { path, image };
}
