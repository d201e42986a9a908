/** References of images: what is taken is read again as the same, and has the grammar's shape. */
import assert from 'node:assert';
import { parseReference } from '../../common/oci/reference.ts';
import { refusing, type Target } from './target.ts';

export const references: Target = {
  name: 'reference',
  seeds: () =>
    [
      'web:1',
      'docker.io/library/web',
      'index.docker.io/a/b:c',
      'localhost:5000/a/b__c/d.e-f:V1.2_3',
      'A.example:80/x',
      '[::1]:5000/a:b',
      `web@sha256:${'a'.repeat(64)}`,
      `web:1@sha256:${'0'.repeat(64)}`,
      'a--b/c_d',
      '0/1:2',
    ].map((text) => Buffer.from(text)),
  words: [
    'docker.io/',
    'library/',
    'index.',
    ':',
    '@',
    '/',
    '@sha256:',
    '__',
    '--',
    '.',
    'localhost',
    '[::1]',
    ':5000/',
    'a'.repeat(64),
    'ä',
  ],
  bytesMax: 1_000,
  run: (bytes) => refusing(() => read(bytes.toString('utf8'))),
};

function read(text: string): void {
  const found = parseReference(text);
  const again = parseReference(found.reference);
  assert(again.reference === found.reference, `${found.reference} becomes ${again.reference}`);
  assert(found.reference === `${found.name}:${found.tag}`, 'the reference is its name and tag');
  assert(found.name.length <= 255 && !/[\s@]/.test(found.name), `a name ${JSON.stringify(found.name)}`);
  assert(/^\w[\w.-]{0,127}$/.test(found.tag), `a tag ${JSON.stringify(found.tag)}`);
}
