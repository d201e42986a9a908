/** What this build is and where it lies, from its package.json. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Build {
  readonly version: string;
  readonly root: string;
}

function find(dir: string): Build {
  try {
    const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { name: string; version: string };
    if (manifest.name === 'covey') return { version: manifest.version, root: dir };
  } catch {
    // Not in this folder: from dist/ it is one further up.
  }
  return find(dirname(dir));
}

const build = find(dirname(fileURLToPath(import.meta.url)));

export const VERSION = build.version;

/** The package's folder; compiled programs are in its `dist`. */
export const PACKAGE_ROOT = build.root;
