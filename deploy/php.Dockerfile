# PHP with phpredis and the client, for the service `php` of docker-compose.yml.
# A base that has phpredis already is taken as it is.
ARG PHP_IMAGE=php:8.2-cli
FROM ${PHP_IMAGE}
RUN php -m | grep -qx redis || { pecl install redis && docker-php-ext-enable redis; }
WORKDIR /app
COPY php_client php_client
RUN chmod -R a+rX /app
USER nobody
