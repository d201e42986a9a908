/** A listed context reads as the folder itself does natively, whatever is in it. */
import { lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readListing } from '../../../agent/build/listed/listing.ts';
import { ListedTree } from '../../../agent/build/listed/tree.ts';
import { LayersTree, type SourceTree } from '../../../agent/build/source-tree.ts';
import { contentsOf, listContext } from '../../../cli/build-context.ts';
import { forever } from '../../support/native-world.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'covey-listed-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Thing =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly content: string }
  | { readonly kind: 'link'; readonly path: string; readonly to: string };

const NAMES = ['a', 'b', 'é', 'a-', '.c'];
const name = fc.constantFrom(...NAMES);
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const asked = fc
  .array(fc.constantFrom(...NAMES, '..', '.', ''), { maxLength: 6 })
  .map((parts) => Buffer.from(parts.join('/')).toString('latin1'));
const thing = fc.oneof(
  fc.record({ kind: fc.constant('folder' as const), path }),
  fc.record({ kind: fc.constant('file' as const), path, content: fc.string({ maxLength: 20 }) }),
  fc.record({
    kind: fc.constant('link' as const),
    path,
    to: fc.oneof(
      path,
      path.map((to) => `/${to}`),
      path.map((to) => `../${to}`),
    ),
  }),
);

/** What cannot be made where it is wanted is left out. */
function make(root: string, things: readonly Thing[]): void {
  for (const each of things) {
    const at = join(root, each.path);
    const parts = each.path.split('/');
    const isFree = parts.slice(0, -1).every((_, n) => {
      const above = join(root, ...parts.slice(0, n + 1));
      return !exists(above) || lstatSync(above).isDirectory();
    });
    if (!isFree || exists(at)) continue;
    mkdirSync(dirname(at), { recursive: true });
    if (each.kind === 'folder') mkdirSync(at);
    else if (each.kind === 'file') writeFileSync(at, each.content);
    else symlinkSync(each.to, at);
  }
}

function exists(at: string): boolean {
  return lstatSync(at, { throwIfNoEntry: false }) !== undefined;
}

async function seen(tree: SourceTree, at: string): Promise<unknown> {
  const shown: unknown[] = [];
  for (const follow of [true, false]) {
    const place = await tree.lookUp(at, { follow });
    const { kind, mode, size } = place.entry ?? {};
    shown.push([place.path, kind, mode, kind === 'file' ? size : 0]);
  }
  shown.push(await tree.names(at));
  for await (const { entry, digest } of tree.digests(at, forever))
    if (entry.path !== '')
      shown.push([entry.path, entry.kind, entry.mode, entry.seconds, entry.nanos, entry.link, digest]);
  for await (const { path: told, body, last } of tree.entries(at, forever))
    if (body !== null) shown.push([told, Buffer.from(body).toString('latin1'), last]);
  return shown;
}

/** Words of refusals differ; that it is refused does not. */
const outcome = (tree: SourceTree, at: string): Promise<unknown> => seen(tree, at).catch(() => 'refused');

it('in every path that can be asked for', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(thing, { maxLength: 14 }),
      fc.array(asked, { minLength: 5, maxLength: 5 }),
      async (things, paths) => {
        runs += 1;
        const root = join(folder, String(runs));
        mkdirSync(root, { mode: 0o755 });
        make(root, things);
        const entries = await listContext(root, undefined, forever);
        async function* messages() {
          yield entries;
        }
        const listing = await readListing(messages());
        const listed = new ListedTree(listing, 0, (digest) =>
          contentsOf(root, entries, [listing.findIndex((each) => each.digest === digest)]),
        );
        const native = new LayersTree([{ path: root, idBase: 0 }]);
        for (const at of ['', ...paths]) expect(await outcome(listed, at), at).toEqual(await outcome(native, at));
      },
    ),
    { numRuns: 150 },
  );
});
