import { expect, it } from 'vitest';
import type { Digest } from '../../../../common/model/ids.ts';
import { isSameTemplate } from '../../../../manager/orchestrator/dirty.ts';
import { aTemplate, CONTAINER } from '../../../support/fixtures.ts';

const A = `sha256:${'a'.repeat(64)}` as Digest;
const B = `sha256:${'b'.repeat(64)}` as Digest;
const container = (image: string, imageDigest?: Digest, more: object = {}) =>
  aTemplate({ container: { ...CONTAINER, image, ...(imageDigest === undefined ? {} : { imageDigest }), ...more } });

it.each([
  ['one image under two names', container('web:1', A), container('web:stable', A), true],
  ['two images under one name', container('web:1', A), container('web:1', B), false],
  ['two names that nobody has resolved', container('web:1'), container('web:2'), false],
  ['one name that nobody has resolved', container('web:1'), container('web:1'), true],
  ['one resolved, the other not', container('web:1', A), container('web:2'), false],
  ['one image and another command', container('web:1', A), container('web:2', A, { args: ['x'] }), false],
])('tasks of %s are the same: %s', (_, one, other, same) => {
  expect(isSameTemplate(one, other)).toBe(same);
  expect(isSameTemplate(other, one)).toBe(same);
});
