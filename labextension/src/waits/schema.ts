/**
 * The JSON schema of an answer, made ready for a form. Pure.
 *
 * The server decides what is an answer. What is here only helps to draw fields, and to put what the
 * server says beside the field it is about.
 */
import type { JSONObject, JSONValue, PartialJSONObject } from '@lumino/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ErrorSchema, RJSFSchema, UiSchema } from '@rjsf/utils';
import { visible } from '../format';
import { written } from '../json';

type Schema = Readonly<Record<string, JSONValue>>;
type Words = Pick<TranslationBundle, '__'>;

const SAYING = ['enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref', 'properties'];
const DEEPEST = 12;

/** Whether yes and no are the only answers. */
export function isYesOrNo(schema: Schema | null): boolean {
  return schema !== null && schema.type === 'boolean' && schema.enum === undefined;
}

/**
 * The schema with what may also be null drawn as the one thing that it is besides.
 *
 * Python's `X | None` is two alternatives in a schema; as a form that would be a choice between
 * two forms, where an empty field says as much.
 */
export function drawable(schema: Schema, trans?: Words): RJSFSchema {
  return simplified(schema, trans) as RJSFSchema;
}

/**
 * Whether no field can be drawn for what a schema takes, since it says too little: it is typed as JSON.
 *
 * Such as anything at all, a list or an object of anything, a choice among types without more.
 */
export function isOpen(schema: JSONValue | undefined): boolean {
  if (!isObject(schema)) {
    return true;
  }
  if (SAYING.some(key => key in schema)) {
    return false;
  }
  switch (schema.type) {
    case 'array':
      return schema.items === undefined;
    case 'object':
      return !isObject(schema.properties) && !isObject(schema.additionalProperties) && !isObject(schema.patternProperties);
    default:
      return typeof schema.type !== 'string';
  }
}

/** How the fields of a schema are drawn: long texts in an area, what says too little as JSON. */
export function uiOf(schema: JSONValue | undefined, trans?: Words, root: JSONValue | undefined = schema, depth = 0): UiSchema {
  const inside = (each: JSONValue | undefined) => uiOf(each, trans, root, depth + 1);
  if (depth > DEEPEST) {
    return {}; // it may refer to itself
  }
  if (isObject(schema) && typeof schema.$ref === 'string' && root !== undefined) {
    const { $ref, ...more } = schema;
    const found = referred($ref as string, root);
    return isObject(found) ? inside({ ...found, ...more }) : {};
  }
  if (isOpen(schema)) {
    return { 'ui:field': 'JsonField' };
  }
  if (!isObject(schema)) {
    return {};
  }
  if (schema.type === 'string' && (schema.format === 'multiline' || Number(schema.maxLength) > 200)) {
    return { 'ui:widget': 'textarea', 'ui:options': { rows: 4 } };
  }
  if (Array.isArray(schema.enum)) {
    return { 'ui:enumNames': schema.enum.map(each => visible(String(each))) };
  }
  const several = Array.isArray(schema.anyOf) ? 'anyOf' : Array.isArray(schema.oneOf) ? 'oneOf' : null;
  if (several !== null) {
    const alternatives = schema[several] as JSONValue[];
    return { [several]: alternatives.map(inside) };
  }
  const bounds = trans ? boundsOf(schema, trans) : '';
  if (bounds) {
    return { 'ui:placeholder': bounds };
  }
  const properties = isObject(schema.properties) ? schema.properties : {};
  const fields = Object.entries(properties).map(([name, each]) => [name, inside(each)]);
  const { items } = schema;
  return {
    ...Object.fromEntries(fields),
    ...(Array.isArray(items) ? { items: items.map(inside) } : items !== undefined ? { items: inside(items) } : {}),
    ...(isObject(schema.additionalProperties) ? { additionalProperties: inside(schema.additionalProperties) } : {})
  };
}

/** What a number has to be, where its schema says so. */
function boundsOf(schema: JSONObject, trans: Words): string {
  if (schema.type !== 'integer' && schema.type !== 'number') {
    return '';
  }
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  if (minimum !== undefined && maximum !== undefined) {
    return trans.__('%1 to %2', String(minimum), String(maximum));
  }
  const least = minimum !== undefined ? trans.__('at least %1', String(minimum)) : above !== undefined ? trans.__('more than %1', String(above)) : '';
  const most = maximum !== undefined ? trans.__('at most %1', String(maximum)) : below !== undefined ? trans.__('less than %1', String(below)) : '';
  return [least, most].filter(Boolean).join(', ');
}

/** An alternative, called by what it is where it has no title. */
function titled(schema: JSONValue, trans: Words): JSONValue {
  const word = isObject(schema) && schema.title === undefined && schema.$ref === undefined ? wordFor(schema, trans) : '';
  return word ? { ...(schema as JSONObject), title: word } : schema;
}

function wordFor(schema: JSONObject, trans: Words): string {
  if ('const' in schema) {
    return visible(String(schema.const));
  }
  switch (schema.type) {
    case 'integer':
      return trans.__('a whole number');
    case 'number':
      return trans.__('a number');
    case 'string':
      return trans.__('a text');
    case 'boolean':
      return trans.__('yes or no');
    case 'array':
      return trans.__('a list');
    case 'null':
      return trans.__('nothing');
    default:
      return '';
  }
}

/** What the server says of the fields, as the form wants it: JSON pointers as a tree. */
export function errorsAt(fields: Readonly<Record<string, string>>): ErrorSchema {
  const root: { [key: string]: any } = Object.create(null); // a field may be called __proto__
  for (const [pointer, message] of Object.entries(fields)) {
    let at = root;
    for (const part of pointer.split('/').slice(1)) {
      const name = part.replace(/~1/g, '/').replace(/~0/g, '~');
      at = at[name] ??= Object.create(null);
    }
    (at.__errors ??= []).push(message);
  }
  return root as ErrorSchema;
}

/** What stands at a JSON pointer in a value; undefined where there is nothing. */
export function valueAt(value: JSONValue | undefined, pointer: string): JSONValue | undefined {
  let at: any = value;
  for (const part of pointer.split('/').slice(1)) {
    at = typeof at === 'object' && at !== null ? at[part.replace(/~1/g, '/').replace(/~0/g, '~')] : undefined;
  }
  return at;
}

/**
 * What was typed, without the lists that need not be there and in which nobody has typed anything.
 *
 * A list whose places are different has its fields from the beginning, so it looks as if it were there.
 */
export function typedOf(schema: JSONValue | undefined, value: JSONValue | undefined, mayMiss: boolean, root = schema): JSONValue | undefined {
  const drawn = isObject(schema) && typeof schema.$ref === 'string' ? referred(schema.$ref, root!) : schema;
  if (mayMiss && isObject(drawn) && Array.isArray(drawn.items) && Array.isArray(value) && value.every(each => each == null)) {
    return undefined;
  }
  if (!isObject(drawn) || !isObject(drawn.properties) || !isObject(value)) {
    return value;
  }
  const [properties, required] = [drawn.properties, Array.isArray(drawn.required) ? drawn.required : []];
  const found = Object.entries(value).map(([name, each]) => [name, typedOf(properties[name], each, !required.includes(name), root)] as const);
  return Object.fromEntries(found.filter(([, each]) => each !== undefined)) as JSONObject;
}

/** Whether a form that nobody has touched is no answer: what it would send is not typed by anybody. */
export function isUntouched(schema: Schema, value: JSONValue | undefined): boolean {
  return value === undefined && (isOpen(schema as JSONValue) || !fits(schema as JSONValue, given(schema, undefined), schema as JSONValue));
}

/** What is sent for a form that nobody has touched: nothing typed is an empty text, not a missing one. */
export function given(schema: Schema, value: JSONValue | undefined): JSONValue {
  if (value !== undefined) {
    return value;
  }
  if (schema.enum !== undefined) {
    return null;
  }
  return schema.type === 'string' ? '' : schema.type === 'object' ? {} : schema.type === 'array' ? [] : null;
}

/**
 * Whether a value fits a schema, as far as it takes to choose among alternatives in a form.
 *
 * It knows types, constants, required properties and combinations. The server knows the rest.
 */
export function fits(schema: JSONValue | undefined, value: JSONValue | undefined, root: JSONValue): boolean {
  if (!isObject(schema)) {
    return schema !== false;
  }
  if (typeof schema.$ref === 'string') {
    return fits(referred(schema.$ref, root), value, root);
  }
  const types = schema.type === undefined ? [] : Array.isArray(schema.type) ? schema.type : [schema.type];
  if (types.length && !types.some(type => isOf(String(type), value))) {
    return false;
  }
  if (Array.isArray(schema.enum) && !schema.enum.some(each => same(each, value))) {
    return false;
  }
  if ('const' in schema && !same(schema.const, value)) {
    return false;
  }
  if (isObject(value)) {
    const required = Array.isArray(schema.required) ? schema.required : [];
    const properties = isObject(schema.properties) ? schema.properties : {};
    if (required.some(name => value[String(name)] === undefined)) {
      return false;
    }
    if (Object.entries(properties).some(([name, each]) => name in value && !fits(each, value[name], root))) {
      return false;
    }
  }
  const all = Array.isArray(schema.allOf) ? schema.allOf : [];
  const any = Array.isArray(schema.anyOf) ? schema.anyOf : Array.isArray(schema.oneOf) ? schema.oneOf : [];
  return (
    all.every(each => fits(each, value, root)) && (any.length === 0 || any.some(each => fits(each, value, root)))
  );
}

function simplified(schema: JSONValue | undefined, trans?: Words): JSONValue | undefined {
  if (Array.isArray(schema)) {
    return schema.map(each => simplified(each, trans)!);
  }
  if (!isObject(schema)) {
    return schema;
  }
  const any = schema.anyOf;
  if (Array.isArray(any) && any.length === 2) {
    const rest = any.filter(each => !(isObject(each) && each.type === 'null'));
    if (rest.length === 1 && isObject(rest[0])) {
      const { anyOf: _, default: preset, ...others } = schema;
      return simplified({ ...rest[0], ...others, ...(preset === undefined || preset === null ? {} : { default: preset }) }, trans);
    }
  }
  if (Array.isArray(schema.prefixItems)) {
    // The form knows the older words for a list whose places are different.
    const { prefixItems, items = true, ...others } = schema;
    const closed = schema.maxItems !== undefined && Number(schema.maxItems) <= prefixItems.length;
    return simplified({ ...others, items: prefixItems, additionalItems: isObject(items) && !closed ? items : false }, trans);
  }
  const found = Object.entries(schema).map(([key, each]): [string, JSONValue] => {
    if (KEPT.has(key)) {
      return [key, each];
    }
    if (NAMED.has(key) && isObject(each)) {
      return [key, simplifiedEach(each, trans)];
    }
    const simple = simplified(each, trans)!;
    const isChoice = (key === 'anyOf' || key === 'oneOf') && Array.isArray(simple);
    return [key, isChoice && trans ? simple.map(one => titled(one, trans)) : simple];
  });
  return found.length ? Object.fromEntries(found) : ANYTHING;
}

function simplifiedEach(schemas: JSONObject, trans?: Words): JSONObject {
  const found = Object.entries(schemas).map(([name, each]) => [name, each === true ? ANYTHING : simplified(each, trans)!]);
  return Object.fromEntries(found);
}

/** The form draws nothing at all where a schema says nothing at all. */
const ANYTHING: JSONObject = { $comment: 'anything' };
const NAMED = new Set(['properties', 'patternProperties', '$defs', 'definitions']);
const KEPT = new Set(['default', 'const', 'enum', 'examples', 'required']);

function referred(ref: string, root: JSONValue): JSONValue | undefined {
  let at: JSONValue | undefined = root;
  for (const part of ref.replace(/^#\/?/, '').split('/').filter(Boolean)) {
    at = isObject(at) ? at[part.replace(/~1/g, '/').replace(/~0/g, '~')] : undefined;
  }
  return at;
}

function isOf(type: string, value: JSONValue | undefined): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isInteger(value) || typeof value === 'bigint';
    case 'number':
      return typeof value === 'number' || typeof value === 'bigint';
    default:
      return typeof value === type;
  }
}

export function same(one: JSONValue | undefined, other: JSONValue | undefined): boolean {
  return one === undefined || other === undefined ? one === other : written(one) === written(other);
}

function isObject(value: JSONValue | PartialJSONObject | undefined): value is JSONObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
