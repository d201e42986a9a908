import { expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { noLog } from '../../../../common/log.ts';
import type { Digest } from '../../../../common/model/ids.ts';
import { MirroredRepository, parseMirrors, type Source } from '../../../../manager/images/mirrors.ts';

const never = new AbortController().signal;
const LAYER = `sha256:${'1'.repeat(64)}` as Digest;
const OTHER = `sha256:${'2'.repeat(64)}` as Digest;

/** Gives its own name as a manifest and as any blob; `fault`: the code that its manifests fail with. */
function source(host: string, fault?: 'unavailable' | 'not_found' | 'denied' | 'invalid'): Source {
  return {
    host,
    registry: {
      manifest: async () => {
        if (fault !== undefined) throw new ClusterError(fault, `${host} fails`);
        return { digest: LAYER, mediaType: '', text: host };
      },
      blob: async function* () {
        yield Buffer.from(host);
      },
      close: async () => undefined,
    },
  };
}

const repository = (...sources: readonly Source[]) => new MirroredRepository(sources, noLog);

async function giverOf(asked: MirroredRepository, digest: Digest): Promise<string> {
  for await (const piece of asked.blob(digest, 0, never)) return Buffer.from(piece).toString();
  return '';
}

it('reads mirrors of Docker Hub and of single registries, in their order', () => {
  const mirrors = parseMirrors([
    'https://a.example',
    'b.example:5000',
    'ghcr.io=http://c.example/',
    'docker.io=https://d.example',
  ]);
  expect([...mirrors]).toEqual([
    [
      'docker.io',
      [
        { host: 'a.example', scheme: 'https' },
        { host: 'b.example:5000', scheme: 'https' },
        { host: 'd.example', scheme: 'https' },
      ],
    ],
    ['ghcr.io', [{ host: 'c.example', scheme: 'http' }]],
  ]);
});

it.each(['', 'https://', 'ftp://a', 'https://a/path', 'https://a?x', 'https://a#x', 'gh cr=https://a'])(
  'refuses "%s" as a mirror',
  (text) => {
    expect(() => parseMirrors([text])).toThrow(expect.objectContaining({ code: 'invalid', field: 'registry-mirror' }));
  },
);

it('does not repeat a login that somebody wrote into a mirror’s URL', () => {
  expect(() => parseMirrors(['https://ada:engine@a.example'])).toThrow(/^(?!.*engine)/);
});

it.each(['unavailable', 'not_found', 'denied', 'invalid'] as const)(
  'passes over a mirror that answers %s',
  async (fault) => {
    const asked = repository(source('first', fault), source('second'), source('own'));
    expect((await asked.manifest('1', never)).text).toBe('second');
    expect(await giverOf(asked, LAYER)).toBe('second');
  },
);

it('fails as the registry itself does when nobody has it', async () => {
  const asked = repository(source('first', 'unavailable'), source('own', 'not_found'));
  await expect(asked.manifest('1', never)).rejects.toMatchObject({ code: 'not_found', message: 'own fails' });
});

it('asks the next one for a blob that a mirror lacks or has wrong, and the mirror for the others', async () => {
  const asked = repository(source('mirror'), source('own'));
  expect(asked.passOver(LAYER, new ClusterError('invalid', 'is corrupt'))).toBe(true);
  expect([await giverOf(asked, LAYER), await giverOf(asked, OTHER)]).toEqual(['own', 'mirror']);
  expect(asked.passOver(LAYER, new ClusterError('invalid', 'is corrupt'))).toBe(false);
});

it('asks a mirror that is away for nothing any more', async () => {
  const asked = repository(source('mirror'), source('own'));
  asked.passOver(LAYER, new ClusterError('unavailable', 'cannot be reached'));
  expect(await giverOf(asked, OTHER)).toBe('own');
});
