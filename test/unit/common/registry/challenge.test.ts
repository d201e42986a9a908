import { expect, it } from 'vitest';
import { type Challenge, chooseChallenge, tokenQuery } from '../../../../common/registry/challenge.ts';

const REALM = 'https://auth.example.org/token';
const bearer = (more: object): Challenge => ({ scheme: 'bearer', realm: REALM, service: '', scope: '', ...more });

it.each<[string, readonly string[], Challenge | undefined]>([
  ['nothing', [], undefined],
  ['a password', ['Basic realm="x"'], { scheme: 'basic' }],
  ['a password, bare and in capitals', ['BASIC'], { scheme: 'basic' }],
  ['a token', [`Bearer realm="${REALM}",service="reg",scope="a"`], bearer({ service: 'reg', scope: 'a' })],
  [
    'commas and quotes in a value',
    [`Bearer scope="repository:a:pull,push", service="a \\"b\\"" , realm=${REALM}`],
    bearer({ service: 'a "b"', scope: 'repository:a:pull,push' }),
  ],
  ['both: the token', ['Basic realm="x"', `Bearer realm="${REALM}"`], bearer({})],
  ['a token without a server', ['Bearer service="x"'], undefined],
  ['what is not known', ['Negotiate', 'Digest realm="x"'], undefined],
  ['no header at all', ['', ' , '], undefined],
])('understands %s', (_, headers, expected) => {
  expect(chooseChallenge(headers)).toEqual(expected);
});

it.each([
  [{ service: 'a b', scope: 's' }, 'service=a+b&scope=repository%3Aweb%3Apull&scope=s'],
  [{}, 'scope=repository%3Aweb%3Apull'],
  [{ scope: 'repository:web:pull,push' }, 'scope=repository%3Aweb%3Apull%2Cpush'],
  [
    { scope: 'repository:base:pull repository:web:push' },
    'scope=repository%3Aweb%3Apull%2Cpush&scope=repository%3Abase%3Apull',
  ],
])('asks for a token as told, each scope once: %o', (more, query) => {
  expect(tokenQuery(bearer(more) as Challenge & { scheme: 'bearer' }, ['repository:web:pull'])).toBe(query);
});

it('asks for no scope when none is needed', () => {
  expect(tokenQuery(bearer({ service: 's' }) as Challenge & { scheme: 'bearer' }, [])).toBe('service=s');
});
