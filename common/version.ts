/** The version of this build, from package.json. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function find(dir: string): string {
  try {
    const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { name: string; version: string };
    if (manifest.name === 'covey') return manifest.version;
  } catch {
    // Not in this folder: from dist/ it is one further up.
  }
  return find(dirname(dir));
}

export const VERSION = find(dirname(fileURLToPath(import.meta.url)));
