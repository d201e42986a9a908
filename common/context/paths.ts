/** Paths inside an image or a build context: always with `/`, never asked of the disk. */

/** The clean path of `path`: without `.`, empty parts and, where they can be taken back, `..`. Source: Go, path.Clean. */
export function cleanPath(path: string): string {
  const rooted = path.startsWith('/');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!rooted) parts.push(part);
  }
  if (rooted) return `/${parts.join('/')}`;
  return parts.length === 0 ? '.' : parts.join('/');
}

/** `path` seen from the folder `from`; absolute ones stay themselves. */
export function joinPath(from: string, path: string): string {
  return cleanPath(path.startsWith('/') ? path : `${from}/${path}`);
}

/** The last part; empty for `/`. */
export function baseName(path: string): string {
  const clean = cleanPath(path);
  return clean.slice(clean.lastIndexOf('/') + 1);
}
