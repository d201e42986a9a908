/**
 * A Dockerfile's text becomes stages with steps whose form is proved; variables are still in them. The one door for
 * Dockerfiles: whatever text comes in, out comes a Dockerfile or a ClusterError `invalid` that names the line.
 *
 * Source: Dockerfile reference; BuildKit, frontend/dockerfile/instructions/parse.go.
 */
import { ClusterError } from '../../../common/errors.ts';
import { Flags } from './flags.ts';
import { flaw, type Place, suggestion } from './flaw.ts';
import { type Framed, frameOf } from './frame.ts';
import { parseContent } from './parse-step.ts';
import { spaced, splitInstruction } from './split.ts';
import type { Dockerfile, Stage, Step } from './written.ts';

const KEYWORDS: readonly string[] =
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
    ' ',
  );
const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;
/** Docker has a meaning of its own for these. */
const RESERVED: readonly string[] = ['scratch', 'context'];

/**
 * @param name  the file's, as errors and warnings call it
 * @throws ClusterError `invalid` with the field `NAME:LINE`
 */
export function parseDockerfile(text: string, name: string): Dockerfile {
  const frame = frameOf(text, name);
  const warnings: string[] = [...frame.warnings];
  const globals: Dockerfile['globals'][number][] = [];
  const stages: (Stage & { steps: Step[] })[] = [];
  for (const framed of frame.instructions) {
    const parts = splitInstruction(framed.text);
    const place: Place = { file: name, span: framed.span, text: framed.text };
    known(parts.keyword, place);
    if (parts.keyword === 'FROM') {
      stages.push({ ...stageOf(parts, place, stages, warnings), steps: [] });
      continue;
    }
    const step = stepOf(framed, place, frame.escape, warnings);
    const stage = stages.at(-1);
    if (stage !== undefined) stage.steps.push(step);
    else if (step.kind === 'arg') globals.push(step);
    else throw flaw(place, 'no build stage in current context', 'begin with FROM IMAGE; only ARG may come before it');
  }
  if (stages.length === 0) {
    throw new ClusterError('invalid', `${name} has no FROM`, { field: name, hint: 'begin a stage with FROM IMAGE' });
  }
  return { name, escape: frame.escape, globals, stages, warnings };
}

/**
 * The steps that a base image's ONBUILD left for those who build on it.
 *
 * @param image  what errors call it
 * @throws ClusterError `invalid` for a trigger that is no step
 */
export function parseTriggers(triggers: readonly string[], image: string): readonly Step[] {
  return triggers.flatMap((trigger, index) => {
    const file = `ONBUILD ${index + 1} of image "${image}"`;
    const frame = frameOf(trigger, file);
    return frame.instructions.map((framed) => {
      const place = { file, span: framed.span, text: framed.text };
      const { keyword } = splitInstruction(framed.text);
      known(keyword, place);
      if (keyword === 'FROM' || keyword === 'ONBUILD' || keyword === 'MAINTAINER') {
        throw flaw(
          place,
          `${keyword} isn't allowed as an ONBUILD trigger`,
          'use an image that was built by a current tool',
        );
      }
      return stepOf(framed, place, frame.escape, []);
    });
  });
}

function known(keyword: string, place: Place): void {
  if (KEYWORDS.includes(keyword)) return;
  const shown = keyword.length > 40 ? `${keyword.slice(0, 39)}…` : keyword;
  throw flaw(
    place,
    `unknown instruction: ${shown}${suggestion(keyword, KEYWORDS)}`,
    `instructions are ${KEYWORDS.join(', ')}`,
  );
}

function stepOf(framed: Framed, place: Place, sign: string, warnings: string[]): Step {
  const warn = (why: string): void => {
    warnings.push(`${place.file}:${framed.span.line}: ${why}`);
  };
  const content = parseContent(framed, { place, escape: sign, warn });
  return { ...content, span: framed.span, text: framed.text };
}

function stageOf(
  { flags, rest }: ReturnType<typeof splitInstruction>,
  place: Place,
  before: readonly Stage[],
  warnings: string[],
): Omit<Stage, 'steps'> {
  const platform = new Flags('FROM', flags, { platform: 'text' }, place).text('platform');
  const [base, as, alias, ...more] = spaced(rest);
  if (
    base === undefined ||
    more.length > 0 ||
    (as !== undefined && (as.toLowerCase() !== 'as' || alias === undefined))
  ) {
    throw flaw(place, 'FROM requires either one or three arguments', 'write FROM IMAGE or FROM IMAGE AS NAME');
  }
  const name = alias?.toLowerCase();
  if (name !== undefined) stageName(name, place, before);
  if (name !== undefined && RESERVED.includes(name)) {
    warnings.push(
      `${place.file}:${place.span.line}: a stage should not be called ${name}: the word has a meaning of its own`,
    );
  }
  return {
    index: before.length,
    ...(name === undefined ? {} : { name }),
    base,
    ...(platform === undefined ? {} : { platform }),
    span: place.span,
    text: place.text,
  };
}

function stageName(name: string, place: Place, before: readonly Stage[]): void {
  if (!STAGE_NAME.test(name)) {
    throw flaw(
      place,
      `invalid name for build stage: "${name}", name can't start with a number or contain symbols`,
      'use letters, digits, - _ and .',
    );
  }
  const other = before.find((stage) => stage.name === name);
  if (other === undefined) return;
  throw flaw(
    place,
    `duplicate name "${name}" for a build stage`,
    `it is the name of the stage on line ${other.span.line}`,
  );
}
